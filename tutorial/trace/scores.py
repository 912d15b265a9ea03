"""Scores that a reader chooses: as an input for a kernel, and as a view in which they can be
edited.

A kernel takes whole tiles of 128 keys, so each of the chosen scores is that of a run of
neighbouring keys; the runs are dealt out evenly, in order, to the tiles.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from nkisim.views import markup

from ..inputs.draw import TILE
from ..stage import Case, InputError, Stage
from . import frames
from .rows import Row, Table

D = 16  # the head dimension of an input made of scores
TILES = 4  # tiles of the view, and of an input for a stage that takes several
SIXTEEN = (0.0, 1, 2, 1, 1, 3, 2, 0, 2, 2, 1, 3, 5, 4, 3, 5)
"""Sixteen scores in four tiles of four: m rises in tile 1 and tile 3, and not in tile 2."""


def case_of(lesson: Stage, scores: Sequence[float]) -> Case:
    """An input of `lesson` whose scaled scores are these, each that of a run of keys: one query.

    Raises InputError for a stage that takes anything but q, k and v in float32, for scores that are
    not finite, and for so many that the keys of the tiles cannot be dealt out evenly.
    """
    chosen = [float(score) for score in scores]
    if lesson.parameters != ("q", "k", "v") or lesson.tolerance is not None:
        raise InputError(f"{lesson.title} takes more than scores: choose them at stages 1 to 4.")
    keys = TILE if lesson.number == 1 else TILES * TILE
    if not chosen or keys % len(chosen) or not all(map(math.isfinite, chosen)):
        raise InputError(f"Choose a number of finite scores that divides {keys}, for instance 16.")
    q = np.zeros((D, 1), np.float32)
    q[0] = 1
    k = np.zeros((D, keys), np.float32)
    k[0] = np.repeat(chosen, keys // len(chosen))
    row, key = np.indices(k.shape)
    v = ((7 * row + 3 * key) % 5 - 2).astype(np.float32)
    if lesson.cases()[0].args["k"].ndim == 3:
        k, v = k[None], v[None]
    inputs: Mapping[str, Any] = {"q": q, "k": k, "v": v, "softmax_scale": 1.0}
    return replace(lesson.custom_case(inputs), family="your scores")


def rows_of(scores: Sequence[float]) -> list[Row]:
    """The state after each of four tiles of the scores, by the formulas; every value of V is 1."""
    rows = []
    m, l = -math.inf, 0.0
    per = len(scores) // TILES
    for t in range(TILES):
        own = tuple(float(s) for s in scores[per * t : per * (t + 1)])
        m_new = max(m, *own)
        alpha = math.exp(m - m_new)
        l = l * alpha + math.fsum(math.exp(s - m_new) for s in own)
        rows.append(Row(0, t, per * t, per * t + per - 1, max(own), m, m_new, alpha, l, l, "", own))
        m = m_new
    return rows


class EditableScores:
    """Sixteen scores in four tiles, what the online softmax makes of them, and, where scripts run,
    a field for each: the picture follows what is typed. `print` gives the table.

    Raises ValueError unless there are sixteen finite scores.
    """

    def __init__(self, scores: Sequence[float] = SIXTEEN) -> None:
        if len(scores) != 16 or not all(map(math.isfinite, scores)):
            raise ValueError("sixteen finite scores are wanted")
        self.scores = tuple(float(score) for score in scores)
        self.table = Table("online softmax by the formulas", "your scores", rows_of(scores), 1)

    def __repr__(self) -> str:
        return self.table.text()

    def _repr_html_(self) -> str:
        picture = frames.strip(self.table, 0).image()
        table = html.escape(self.table.text())
        given = ",".join(f"{score:g}" for score in self.scores)
        name = markup.identity("scores", picture + table)
        return (
            f'<div id="{name}" role="group" aria-label="sixteen scores to edit">\n{picture}\n'
            f"<pre>{table}</pre>\n</div>\n<script>{_script().replace('ID', name, 1)}"
            f'.apply(null,["{name}",[{given}]]);</script>'
        )


@cache
def _script() -> str:
    """What makes fields of the scores."""
    return resources.files(__package__).joinpath("scores.js").read_text(encoding="utf-8").rstrip()
