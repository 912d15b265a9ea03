"""Switch the fallback on in a Python process that was started by one which uses it.

Python imports `sitecustomize` at start-up, from the first directory of `sys.path` that has one.
`fallback.install()` puts this directory into `PYTHONPATH` for children; this file installs the
finder, takes its own directory off `sys.path` again (not out of `PYTHONPATH`: grandchildren need
it), and then runs the `sitecustomize` that it hid.

`PYTHONPATH` reaches every Python that is started, also one of another environment or an old
version. So: nothing but the standard library, and never a reason for an interpreter not to start.
"""

import os
import sys


def _install() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 (an interpreter that is not ours)
        return
    from importlib.util import module_from_spec, spec_from_file_location

    path = os.path.join(os.path.dirname(_HERE), "finder.py")
    spec = spec_from_file_location("_nkisim_fallback_finder", path)
    assert spec is not None and spec.loader is not None
    finder = module_from_spec(spec)
    spec.loader.exec_module(finder)
    finder.install()


def _run_hidden_one() -> None:
    del sys.modules["sitecustomize"]
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if getattr(error, "name", None) != "sitecustomize":
            raise
    finally:
        # The import system expects to find under this name what it has just executed.
        sys.modules.setdefault("sitecustomize", _THIS)


_HERE = os.path.dirname(os.path.abspath(__file__))
_THIS = sys.modules["sitecustomize"]

try:
    _install()
except Exception as error:
    sys.stderr.write(f"nkisim: no fallback for neuronxcc in this process: {error}\n")

sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != _HERE]
_run_hidden_one()
