"""The import names `neuronxcc` and `nki`, served by the simulator where no real SDK is installed.

    >>> from nkisim import fallback
    >>> fallback.install()  # import nkisim, import tutorial, python -m nkisim and pytest do it
    >>> fallback.backend()
    'nkisim fallback'

The real SDK always wins, and wholly: where a real `neuronxcc` *or* a real `nki` is importable,
neither name is imitated. Set the environment variable `NKISIM_FORCE=1` to use the simulator all the
same, for both names.
"""

from __future__ import annotations

from nkisim.fallback.finder import backend, forced, install, installed, real_sdk, uninstall

__all__ = ["backend", "forced", "install", "installed", "real_sdk", "uninstall"]
