"""x"""

from typing import Any


class Dataflow:
    def __init__(self, calls: Any) -> None: ...
