"""What a known mistake is: the recipes that make it, and the sentence that names it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..reference.recipes import Recipe


@dataclass(frozen=True)
class Mistake:
    """`cause` may use {G}, {sqrt_d}, {tiles} and {S}.

    `alpha_formed`: True if a kernel with this mistake computes alpha, False if not, None if that
    says nothing. `overflows`: where it makes the first infinity: "row" (one element a row, as
    alpha), "tile" (as p), or "division" (by 0). `states_right`: whether the states that a kernel
    with it names are right, None if that says nothing. `divides`: whether a kernel with it divides
    by anything, None if that says nothing. `does`: an operator that every kernel with it uses, ""
    if there is none. `without_keys`: whether it is about rows that have no keys.
    """

    key: str
    cause: str
    recipes: tuple[Recipe, ...]
    grouped: bool = False
    alpha_formed: bool | None = None
    overflows: str | None = None
    states_right: bool | None = None
    divides: bool | None = None
    does: str = ""
    without_keys: bool = False


def both(**switches: str | float) -> tuple[Recipe, ...]:
    """The same mistake in one pass and in several."""
    one_pass = Recipe(**switches)  # type: ignore[arg-type]
    return one_pass, replace(one_pass, method="passes")


def online(**switches: str | float) -> tuple[Recipe, ...]:
    return (Recipe(**switches),)  # type: ignore[arg-type]


def passes(**switches: str | float) -> tuple[Recipe, ...]:
    return (Recipe(method="passes", **switches),)  # type: ignore[arg-type]


def shared(what: str, over: str) -> tuple[Recipe, ...]:
    return both(shared=what, share_over=over)
