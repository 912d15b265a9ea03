"""Every kernel call of some tests is lowered, saved, loaded and replayed besides."""

from tests.nkisim.replaying import replayed

__all__ = ["replayed"]
