"""One test for many quick cases: pytest and its workers take longer for a test than such a case
does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from hypothesis import settings

Case = TypeVar("Case")


def thorough() -> bool:
    """Whether the run looks at every case and not at a sample: `--hypothesis-profile=thorough`."""
    return settings().max_examples >= 200


def one_in(many: int, cases: Iterable[Case]) -> Sequence[Case]:
    """One in so many of the cases; all of them in a thorough run."""
    return list(cases)[:: 1 if thorough() else many]


def of_each(
    cases: Mapping[str, Any] | Iterable[Any], name: Callable[[Any], str] = repr
) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """A decorator: the test is called with every case (a tuple has several arguments), and fails
    with the name of each case that it fails for, and how. All cases are tried."""
    named = dict(cases if isinstance(cases, Mapping) else ((name(case), case) for case in cases))
    assert named

    def decorated(test: Callable[..., None]) -> Callable[[], None]:
        def asked() -> None:
            failed = []
            for case, given in named.items():
                try:
                    test(*given) if isinstance(given, tuple) else test(given)
                except Exception as error:
                    failed.append(f"{case}: {type(error).__name__}: {error}")
            assert not failed, "\n".join((f"{len(failed)} of {len(named)} cases", *failed))

        asked.__name__, asked.__qualname__ = test.__name__, test.__qualname__
        asked.__module__, asked.__doc__ = test.__module__, test.__doc__
        return asked

    return decorated
