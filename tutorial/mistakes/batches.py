"""The known mistakes with lengths and padding, in the form of `reference.mistake`."""

from __future__ import annotations

from ..reference.mistake import read

BATCH = read(
    """
== V cleaned one key too late [no keys]
The length is off by one where V is cleaned: the value at position lengths[b] is padding, and must
become 0 as well.
    v_tile = where => v_tile = where(keys > lengths[b], 0, v_tile)
== V cleaned by the length of another sequence [no keys]
V is cleaned by another sequence's length: sequence b has lengths[b] keys, in K and in V alike.
    v_tile = where => v_tile = where(keys >= lengths[{0|-1|max(b - 1, 0)|min(b + 1, B - 1)|-1 - b}],
        0, v_tile)
== V's padding is not 0 [no keys]
V's padding is overwritten with another number than 0: a sequence of length 0 gets its mean.
    v_tile = where => v_tile = where(padding, float32({LOWEST|-1e30|-1e9}), v_tile)
== V cleaned in part [no keys]
Only a part of V's padding is cleaned: all d rows must become 0 there, and in every tile.
    v_tile = where => v_tile = where(padding * {(t == len(tiles) - 1)|(t == 0)|(arange(d) < G)[:,
        None]}, 0, v_tile)
== V's mask along d
V's mask lies along d: where V is (keys, d), the mask of the keys is a column, one number for each
partition, and not a row that is the same on all of them.
    v_tile = where => v_tile = where(keys[0] + arange(d)[:, None] >= lengths[b], 0, v_tile)
== V's positions restart in every tile [no keys]
V is cleaned by positions that start from 0 in every tile: the first key of tile i has position i
times the tile's width.
    v_tile = where => v_tile = where(keys % len(tiles[0]) >= lengths[b], 0, v_tile)
== V's padding not cleaned
The scores are masked, but V's padding is not cleaned: NaN stays NaN, whether its weight is 0 or
it is multiplied by 0, and a sequence of length 0 gets the mean of it. Overwrite the values of the
padding with 0.
    v_tile = where => {pass|v_tile = v_tile * where(padding, 0, 1)}
== V's mask inverted
V's mask is the wrong way round: the values that count are cleared, and those of the padding stay.
Overwrite with 0 where position >= length.
    v_tile = where => v_tile = where(padding, v_tile, 0)
== V cleaned one key too early
The length is off by one where V is cleaned: the value of the sequence's last key, at position
lengths[b] - 1, is cleared, and must stay.
    v_tile = where => v_tile = where(keys + 1 >= lengths[b], 0, v_tile)
== lengths ignored
The lengths are not used: keys from lengths[b] on are padding, and must get no weight.
    qk = where => pass & v_tile = where => {pass|v_tile = where(isfinite(v_tile), v_tile, 0)}
== scores not masked
V's padding is cleaned, but the scores are not masked: the padding gets weights, and they count in
l.
    qk = where => pass
== padding scored 0
The padding's scores are set to 0, which is a score like any other and above all negative ones:
they must become the lowest number (nl.fp32.min) before the max is taken.
    qk = where => qk = where(padding, 0, qk) <V>
    p = exp(qk - m_new) => p = exp(where(padding, 0, qk) - m_new) {|& v_tile = where => pass}
    p = exp(qk - m) => p = exp(where(padding, 0, qk) - m) {|& v_tile = where => pass}
    m_tile = where(padding, 0, qk).max(axis=1, keepdims=True) <V>
== padding raised
The padding's scores are raised and not lowered: what lies past the length must get the lowest
number (nl.fp32.min).
    qk = where => qk = where(padding, {1e30|-FILL}, qk) <V>
    qk = where => qk = qk + where(padding, 1e30, 0) <V>
== fills exchanged
The two fills are exchanged: the scores of the padding must become the lowest number (nl.fp32.min),
and its values 0.
    qk = where => qk = where(padding, 0, qk) & v_tile = where => v_tile = where(padding,
        float32({LOWEST|-1e30|-1e9|-1e4}), v_tile)
== lengths on some partitions only
The lengths are on some of the partitions only, and 0 on the others: what lies on those counts as
padding. Each of the 128 partitions compares for itself, so the lengths must be on all of them.
    padding = (keys >= lengths[b]) | (arange(len(keys)) >= {64|32|96}) <R>
    v_tile = where => v_tile = where(padding | (arange(d) >= {64|32|16|G})[:, None], 0, v_tile)
== padding scored 0 by a product
The padding's scores are multiplied by 0: NaN times 0 is NaN, and a 0 is a score like any other.
Overwrite them with the lowest number (nl.fp32.min) before the max is taken.
    qk = where => qk = qk * where(padding, 0, 1) <V>
== mask after the max
The mask is applied after the max: m must be the max of the keys that count, or NaN and large
numbers of the padding get into it. Mask the scores first.
    m_tile = (scale * raw).max(axis=1, keepdims=True) <V>
    m_tile = (scale * raw).max(axis=1, keepdims=True)
        & p = exp(qk - m_new) => p = exp(scale * raw - m_new) * where(padding, 0, 1) <V>
    m_tile = (scale * raw).max(axis=1, keepdims=True)
        & p = exp(qk - m) => p = exp(scale * raw - m) * where(padding, 0, 1) <V>
    m_tile = (scale * raw).max(axis=1, keepdims=True)
        & p = exp(qk - m_new) => p = where(padding, 0, exp(scale * raw - m_new)) <V>
== mask multiplied into the weights
The weights of the padding are multiplied by 0: where they are NaN or infinite the product is NaN.
Overwrite the scores with the lowest number (nl.fp32.min) before the max is taken.
    p = exp(qk - m_new) => p = exp(scale * raw - m_new) * where(padding, 0, 1) <V>
    p = exp(qk - m) => p = exp(scale * raw - m) * where(padding, 0, 1) <V>
== mask added
The mask is added to the scores, or computed with them in another way: NaN plus any number is NaN.
Overwrite the scores of the padding instead (nisa.tensor_copy_predicated, nl.where), and its values.
    qk = where => qk = qk + where(padding, float32({LOWEST|-1e9|-1e30|-inf}), 0) <V>
== mask before the scale
The padding's scores are overwritten before the scale is applied: multiplied by 0 or a negative
number they are no longer the lowest. Apply the scale first.
    qk = where => qk = scale * where(padding, {LOWEST|float32(-1e30)|float32(-1e9)}, raw) <V>
== mask only in the max
The mask is applied to the max but not to the scores that exp sees: the padding gets weights.
    p = exp(qk - m_new) => p = exp(scale * raw - m_new) {|& v_tile = where => pass}
    p = exp(qk - m) => p = exp(scale * raw - m) {|& v_tile = where => pass}
== mask not in l
The padding is masked in the weighted sum but not in l: both need the same p.
    l = l * alpha + exp(scale * raw - m_new).sum(axis=1, keepdims=True) {|& v_tile = where => pass}
    l = l + => l = l + exp(scale * raw - m).sum(axis=1, keepdims=True) {|& v_tile = where => pass}
    qk = where => pass & acc = acc {* alpha|} + where(padding, 0, p) @ v_tile.T
        & v_tile = where => pass
== mask not in the weighted sum
The padding is masked in l but not in the weighted sum: both need the same p.
    v_tile = where => pass & acc = acc * alpha + exp(scale * raw - m_new) @ v_tile.T
    v_tile = where => pass & [2] p = => p = exp(scale * raw - m)
    qk = where => pass & v_tile = where => pass
        & l = l {* alpha|} + where(padding, 0, p).sum(axis=1, keepdims=True)
== mask not low enough
The padding's scores are set to a number that real scores can lie below: it must be lower than any
score, nl.fp32.min.
    qk = where => qk = where(padding, float32({-1|-10|-50|-100|-200|-500|-1000|-5000|-1e4|-3e4}),
        qk) {|& v_tile = where => pass}
    qk = where => qk = qk + where(padding, float32({-1|-10|-100|-1000|-1e4|-3e4}), 0) <V>
    qk = where => qk = where(padding, FILL, qk) {|& v_tile = where => pass}
    qk = where => qk = qk + where(padding, FILL, 0) <V>
    qk = where => qk = scale * where(padding, float32({-100|-1000|-1e4|-1e5|-1e6}), raw) <V>
== mask inverted
The mask is the wrong way round: the keys that count are hidden. A key counts if its position is
below the length: padding = position >= length.
    padding = keys < lengths[b] <R>
    qk = where => qk = where(padding, {0|qk}, full(qk.shape, LOWEST))
== mask in the last tile only
Only the last tile is masked: a sequence may end in any tile.
    padding = (keys >= lengths[b]) * (t == len(tiles) - 1) <R>
== mask in the first tile only
Only the first tile is masked: a sequence may end in any tile.
    padding = (keys >= lengths[b]) * (t == 0) <R>
== mask for some heads only [heads]
The scores of some heads are masked, those of others are not: a sequence has the same keys for all
of its heads.
    qk = where => qk = where(padding * {(h == 0)|(arange(G)[:, None] == 0)}, LOWEST, qk) <V>
== whole tiles masked
A tile counts as a whole or not at all: in the tile in which a sequence ends, the keys from the
length on must be masked too.
    padding = (keys >= lengths[b]) * (keys.min() >= lengths[b]) <R>
== length rounded down
The keys of a sequence's last tile are dropped unless they fill it: the tile in which a sequence
ends counts up to the length.
    padding = keys >= lengths[b] // len(tiles[0]) * len(tiles[0]) <R>
== length off by one, too long
The length is off by one: the key at position lengths[b] counts, and must not. A key counts if its
position is below the length: padding = position >= length.
    padding = keys > lengths[b] <R>
== length off by one, too short
The length is off by one: the sequence's last key, at position lengths[b] - 1, does not count, and
must. A key counts if its position is below the length: padding = position >= length.
    padding = keys + 1 >= lengths[b] <R>
== length in 16 bits
The lengths pass through 16 bits: in bf16 257 becomes 256, so keep them in int32 or float32.
    padding = keys >= bf16(lengths[b]) <R>
    padding = bf16(keys) >= lengths[b] <R>
    padding = bf16(keys) >= bf16(lengths[b]) <R>
== position restarts in every tile
The positions start from 0 in every tile: the first key of tile i has position i times the tile's
width.
    padding = keys % len(tiles[0]) >= lengths[b] <R>
== position counts tiles
The first key of tile i is given position i: it has position i times the tile's width.
    padding = keys - keys.min() + t >= lengths[b] <R>
== position counts narrower tiles
The first key of a narrower last tile i is given position i times that tile's own width: it has
position i times the width of a whole tile.
    padding = keys - keys.min() + t * len(keys) >= lengths[b] <R>
== positions differ by row
The positions are larger by one in every next row: those of a tile's keys are the same on all
partitions.
    padding = keys + arange(G)[:, None] >= lengths[b]
        & v_tile = where => v_tile = where(keys + arange(d)[:, None] >= lengths[b], 0, v_tile)
== position a tile off
The positions are a tile off: the first key of tile i has position i times the tile's width.
    padding = keys {-|+} len(tiles[0]) >= lengths[b] <R>
== length of another sequence
A sequence is masked by another sequence's length: sequence b has lengths[b] keys.
    padding = keys >= lengths[{0|-1|max(b - 1, 0)|min(b + 1, B - 1)|(b + 1) % B|-1 - b|min(h, B
        - 1)|h % B|min(b * Hkv + h, B - 1)}] <R>
    padding = keys >= {lengths[: b + 1].sum()|lengths[: b + 1].max()} <R>
== the longest length for all
All sequences are masked by the longest length: sequence b has lengths[b] keys.
    padding = keys >= lengths.max() <R>
== the shortest length for all
All sequences are masked by the shortest length: sequence b has lengths[b] keys.
    padding = keys >= lengths.min() <R>
== length 0 gives inf - inf [no keys, subtraction]
A row without keys gives NaN: with m and the masked scores at -inf, -inf - -inf is NaN. Use the
lowest finite number (nl.fp32.min) for both.
    o[b => o[b, h * G : (h + 1) * G] = acc / l if lengths[b] else nan
== length 0 divides by 0 [no keys, division]
A sequence of length 0 ends with l = 0, and 0 / 0 is NaN: its output must be 0, so see to it that
l is not 0 there.
    o[b => o[b, h * G : (h + 1) * G] = acc / l if lengths[b] else nan
== length 0 gives NaN [no keys, shown]
A sequence of length 0 gives NaN; its output must be 0. Either l ends as 0, and 0 / 0 is NaN, or
scores and m are -inf, and -inf - -inf is NaN.
    o[b => o[b, h * G : (h + 1) * G] = acc / l if lengths[b] else nan
== length 0 gives the mean of V [no keys]
A sequence of length 0 gets the mean of V: where all scores are equally low, all weights are
alike. Its output must be 0.
    v_tile = where => {pass|v_tile = where(isfinite(v_tile), v_tile, 0)}
    padding = (keys >= lengths[b]) * (lengths[b] > 0) {|& v_tile = where => pass}
== length 0 taken as 1 [no keys]
A sequence of length 0 is given one key: its output must be 0.
    padding = keys >= max(lengths[b], 1) {|& v_tile = where => pass}
== last keys skipped [long]
The keys after the last whole tile are skipped: n need not be a multiple of the tile's width, so
the last tile may be narrower.
    for t, keys => for t, keys in enumerate([x for x in tiles if len(x) == max(map(len, tiles))]):
    for t, keys => for t, keys in enumerate([x for x in tiles if x[-1] < n // len(x) * len(x)]):
    for t, keys => for t, keys in enumerate([x for x in tiles if x[-1] < n // 128 * 128]):
== last tile begins too early
The last tile begins before its place, so that it ends at n: its first keys are those of the tile
before, and count twice. It begins at i times the width of a tile, and may be narrower.
    for t, keys => for t, keys in enumerate([x if len(x) == len(tiles[0]) else arange(n -
        len(tiles[0]), n) for x in tiles]):
    k_tile = k[b, h][:, <C>] & v_tile = v[b, h][:, <C>]
== sequence 0's K and V for all
All sequences read the same K and V: sequence b has its own, k[b] and v[b].
    k_tile = k[{0, h|-1, h}][:, keys]
        & v_tile = v[{0, h|-1, h}][:, keys] {|& v_tile = where => pass}
== sequence 0's V for all
All sequences read the same V: sequence b has its own, v[b].
    v_tile = v[{0, h|-1, h}][:, keys] {|& v_tile = where => pass}
== sequence 0's K for all
All sequences read the same K: sequence b has its own, k[b].
    k_tile = k[{0, h|-1, h}][:, keys] {|& v_tile = where => pass}
== sequence 0's q for all
All sequences use the same query: sequence b has its own, q[b].
    q_tile = q[{0|-1}, h * G : (h + 1) * G]
== K and V of another sequence
A sequence reads another sequence's K and V: sequence b has its own, k[b] and v[b].
    k_tile = k[<B>, h][:, keys] & v_tile = v[<B>, h][:, keys] {|& v_tile = where => pass}
== V of another sequence
A sequence reads another sequence's V: sequence b has its own, v[b].
    v_tile = v[<B>, h][:, keys] {|& v_tile = where => pass}
== K of another sequence
A sequence reads another sequence's K: sequence b has its own, k[b].
    k_tile = k[<B>, h][:, keys]
== q of another sequence
A sequence uses another sequence's query: sequence b has its own, q[b].
    q_tile = q[<B>, h * G : (h + 1) * G]
== output of another sequence
The outputs are stored as other sequences': what is computed for sequence b goes to o[b].
    o[b => o[{-1 - b|b - 1|(b + 1) % B}, h * G : (h + 1) * G] = acc / l
== state not cleared between sequences [in turn]
The state m, l and acc is carried from one sequence to the next: the next starts from what the one
before left, and must start afresh.
    <m> & <l> & <acc>
== l and acc not cleared between sequences [in turn, no keys]
l and acc are carried from one sequence to the next: they must start at 0 for every sequence.
    <l> & <acc>
== acc not cleared between sequences [in turn, no keys]
acc is carried from one sequence to the next: it must start at 0 for every sequence.
    <acc>
== m and acc not cleared between sequences [in turn]
m and acc are carried from one sequence to the next: m must start at the lowest number, and acc at
0, for every sequence.
    <m> & <acc>
== l not cleared between sequences [in turn]
l is carried from one sequence to the next: it must start at 0 for every sequence.
    <l>
== m and l not cleared between sequences [in turn]
m and l are carried from one sequence to the next: m must start at the lowest number, and l at 0,
for every sequence.
    <m> & <l>
== m not cleared between sequences [in turn, no keys]
m is carried from one sequence to the next: it still holds the max of the one before, and must
start at the lowest number for every sequence.
    <m>
""",
    {
        "C": "min(keys[0], n - len(keys)) + arange(len(keys))",
        "B": "{max(b - 1, 0)|(b + 1) % B|-1 - b}",
        "V": "{|& v_tile = where => pass"
        "|& v_tile = where => v_tile = v_tile * where(padding, 0, 1)}",
        "R": "{|& v_tile = where => pass"
        "|& v_tile = where => v_tile = where(keys >= lengths[b], 0, v_tile)}",
        "m": 'm = full => m = left("m", {h|None}, full((G, 1), LOWEST))',
        "l": 'l = zeros => l = left("l", {h|None}, zeros((G, 1)))',
        "acc": 'acc = zeros => acc = left("acc", {h|None}, zeros((G, d)))',
    },
)
