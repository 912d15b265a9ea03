"""Mistakes that give the same outputs, so that only what a kernel did tells them apart."""

from __future__ import annotations

from tutorial.mistakes.attention import ATTENTION

_ALIKE = """
tile 0 reused | first tile only
scale added | scale missing
default scale is another | scale missing
l counts the keys | divided by n
divided by the last tile's sum | l not accumulated
m overwritten before alpha | nothing rescaled
m never updated | nothing accumulated
last tile only | nothing accumulated
alpha is not a power of e | nothing accumulated
mask not in l | scores not masked
length 0 gives inf - inf | length 0 gives NaN
length 0 divides by 0 | length 0 gives NaN
m not cleared between sequences | length 0 gives NaN
length 0 gives the mean of V | V's padding not cleaned
last tile skipped | last keys skipped
first half of the tiles only | first tile only
state not cleared between heads | state not cleared between sequences
l starts at 1 | epsilon in the division
output multiplied by the scale | p multiplied by the scale
p with the tile's max | alpha with the tile's max
acc never updated | m is a minimum
acc never updated | no numbers
one sum with the old max | no numbers
states merged by the wrong factors | no numbers
m not raised in the merge | no numbers
first tile skipped in the max | no numbers
divided inside the loop | divided twice
one row of p | acc not rescaled
l shared | l adds the mean
m starts too high | m in 16 bits
alpha inverted | no numbers
alpha inverted for l | no numbers
alpha of one max | no numbers
alpha inverted for acc | no numbers
p with the old max | no numbers
l never updated | no numbers
KV heads skipped | no numbers
last keys of a step skipped in the weighted sum | no numbers
max subtracted twice | no max subtraction
states merged without their factors | p with the tile's max
states merged without their factors | l with the tile's max
states merged without their factors | acc with the tile's max
states merged without their factors | a max for each part of a step
every second tile left out of the sum | sum of a part of the tile
several states with one max | nothing rescaled
KV head of K is another | K of one KV head
KV head of V is another | V of one KV head
zeros stored | acc never updated
zeros stored | used entries exchanged
padding times 0 | V's padding not cleaned
padding times 0 | V cleaned one key too late
padding times 0 | length 0 gives the mean of V
padding times 0 | mask added
last block not masked | lengths ignored
last block not masked | padding scored 0
padding scored 0 | padding scored 0 by a product
length off by one | length off by one, too long
length off by one | length off by one, too short
position restarts in every chunk | position restarts in every tile
length of another sequence | the longest length for all
block of another sequence | sequence 0's K and V for all
block of another sequence | sequence 0's K for all
block of another sequence | sequence 0's V for all
only the first chunk of entries | first tile only
second tile skipped | first half of every tile only
tile 0's V reused | stale block table
tile 0's K reused | stale block table
tile 0 reused | stale block table
every second tile left out of the sum | one tile of every step in the sum
every second tile left out of the weighted sum | one tile of every step in the weighted sum
"""
_FORMS = {frozenset((one.key, one.kind)) for one in ATTENTION}
SYNONYMS = {frozenset(line.split(" | ")) for line in _ALIKE.split("\n") if line} | _FORMS


def alike(key: str, named: str) -> bool:
    """Whether a mistake may be taken for another one, by its outputs alone."""
    return key == named or frozenset((key, named)) in SYNONYMS
