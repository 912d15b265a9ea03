"""Judging on a Dask cluster: every machine of it has its own judges.

Needs the extra `classroom`, here and on the cluster's workers. A task that its worker did not live
to finish is given to another worker; a result counts once, when it has arrived here. What fails
while the task is handed over (its graph could not be read, a connection broke) is asked once more.
"""

from __future__ import annotations

import atexit
import importlib
import threading
from collections.abc import Sequence
from typing import Any

from ..stage import Refused
from .judges import Bench, Done, Setting, Task, unjudged

_OWN = threading.local()


class NoCluster(Refused):
    """There is no cluster at this address; the text is one sentence."""


def judged(task: Task, setting: Setting) -> dict[str, Any]:
    """On a worker of the cluster: the result of one submission. Each of its threads keeps a
    judge."""
    bench: Bench | None = getattr(_OWN, "bench", None)
    if bench is None or bench.setting != setting:
        if bench is not None:
            bench.stop()
        bench = _OWN.bench = Bench(setting)
        atexit.register(bench.stop)
    return bench.judged(task)


def there(tasks: Sequence[Task], setting: Setting, done: Done, address: str) -> None:
    """Judge on the cluster whose scheduler is at this address. Raises NoCluster."""
    try:
        dask = importlib.import_module("distributed")
    except ImportError as error:
        raise NoCluster(
            "--scheduler needs Dask: install this package with its extra, as -e '.[classroom]'."
        ) from error
    try:
        client = dask.Client(address, set_as_default=False, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        raise NoCluster(f"There is no Dask scheduler at {address}: {error}.") from error
    with client:
        asked = {client.submit(judged, task, setting, pure=False): task for task in tasks}
        again: set[int] = set()
        arriving = dask.as_completed(asked)
        for future in arriving:
            task = asked.pop(future)
            try:
                result = future.result()
            except Exception as error:
                if not isinstance(error, dask.KilledWorker) and task.number not in again:
                    again.add(task.number)  # not the task's fault: the scheduler stumbled over it
                    future = client.submit(judged, task, setting, pure=False)
                    asked[future] = task
                    arriving.add(future)
                    continue
                result = unjudged(f"the cluster could not: {type(error).__name__}")
            done(task, result)
