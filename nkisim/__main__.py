"""Run a Python file or module with the simulator behind `import neuronxcc`, without changing the
file.

usage: python -m nkisim SCRIPT.py [ARG ...]
       python -m nkisim -m MODULE [ARG ...]

The program sees what it would see under plain Python: sys.argv, __main__, __file__, sys.path[0].
Its exit status becomes this command's; 2 means that there was nothing to run. A kernel called with
NumPy arrays is simulated. Where a real SDK is installed it is used instead, unless NKISIM_FORCE=1
is set.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType

from nkisim import fallback

_UNUSABLE = 2


def main(arguments: list[str]) -> int:
    """Run what the command line names; return the exit status if the program did not set one
    itself."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    if arguments[:1] == ["-m"]:
        if len(arguments) < 2:
            return _refuse("-m needs the name of a module")
        return _run_module(arguments[1], arguments[1:])
    if not arguments:
        return _refuse("no program given; try: python -m nkisim --help")
    if arguments[0].startswith("-"):
        return _refuse(f"unknown option {arguments[0]}; try: python -m nkisim --help")
    return _run_script(arguments[0], arguments)


def _run_script(script: str, argv: list[str]) -> int:
    path = Path(script)
    if path.is_dir():
        return _refuse(f"'{script}' is a directory, not a Python file")
    try:
        source = path.read_bytes()
    except OSError as error:
        return _refuse(f"cannot read '{script}': {error.strerror}")
    absolute = os.path.abspath(script)
    # A module of our own instead of runpy.run_path: that one takes __main__ away again when the
    # script ends, while atexit functions, threads and multiprocessing's spawn may still look at it.
    module = ModuleType("__main__")
    module.__file__ = absolute
    module.__loader__ = SourceFileLoader("__main__", absolute)
    module.__spec__ = None
    vars(module)["__builtins__"] = __builtins__
    vars(module)["__cached__"] = None
    sys.modules["__main__"] = module
    sys.argv[:] = argv
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(absolute if os.name == "nt" else os.path.realpath(absolute))
    fallback.install()
    try:
        exec(compile(source, absolute, "exec", dont_inherit=True), vars(module))
    except Exception as error:
        return _report(error)
    return 0


def _run_module(name: str, argv: list[str]) -> int:
    fallback.install()
    sys.argv[:] = argv
    try:
        spec = importlib.util.find_spec(name)  # of a dotted name, this imports the parents
        if spec is None:
            return _refuse(f"no module named '{name}'")
        if (
            spec.submodule_search_locations is not None
            and importlib.util.find_spec(f"{name}.__main__") is None
        ):
            return _refuse(f"'{name}' is a package without a __main__ module")
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            return _refuse(f"no module named '{name}'")
        return _report(error)
    except Exception as error:
        return _report(error)
    return 0


def _report(error: Exception) -> int:
    """Print the program's own traceback, as Python would without a launcher around it."""
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename in (
        __file__,
        runpy.__file__,
        _FROZEN_RUNPY,
    ):
        traceback = traceback.tb_next
    sys.excepthook(type(error), error.with_traceback(traceback), traceback)
    return 1


def _refuse(sentence: str) -> int:
    print(f"nkisim: {sentence}", file=sys.stderr)
    return _UNUSABLE


_FROZEN_RUNPY = "<frozen runpy>"

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
