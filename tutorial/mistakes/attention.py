"""The known mistakes of every attention stage: the sentence of each, and the twin's lines written
wrongly.

Order matters only between mistakes that answer alike and that nothing recorded tells apart: the
earlier one is named.
"""

from __future__ import annotations

from ..reference.mistake import read

ATTENTION = read(
    """
== scale missing
The scale is missing: qk must be softmax_scale * q^T k, and softmax_scale is 1/sqrt(d) =
1/{sqrt_d} unless the caller gives one.
    qk = raw
    qk = (scale if given else 1) * raw
    qk = raw & alpha = exp(scale * (m - m_new))
== scale only on the max
The scale is applied to the max but not to the scores that exp sees: both must be scaled, or the
max is not the max of what exp sees.
    p = exp(qk - m_new) => p = exp(where(padding, LOWEST, raw) - m_new)
    p = exp(qk - m) => p = exp(where(padding, LOWEST, raw) - m)
== scale only on the scores
The scale is applied to the scores but not to the max that is subtracted from them: both must be
scaled.
    m_tile = where(padding, LOWEST, raw).max(axis=1, keepdims=True)
        {|& alpha = exp(scale * m - m_new)}
== scale missing in some tiles [tiles]
The scale is missing in some of the tiles, the first one or those after it: every tile needs the
same qk = softmax_scale * q^T k.
    qk = (raw if t else scale * raw)
    qk = (scale * raw if t else raw)
== scale missing in the sum
The scale is missing in the pass that sums the weights: every pass needs the same qk =
softmax_scale * q^T k.
    [2] qk = scale => qk = raw
    l = l * alpha + exp(where(padding, LOWEST, raw) - m_new).sum(axis=1, keepdims=True)
== scale missing in the weighted sum
The scale is missing in the pass that weighs the values: every pass needs the same qk =
softmax_scale * q^T k.
    [3] qk = scale => qk = raw
    acc = acc * alpha + exp(where(padding, LOWEST, raw) - m_new) @ v_tile.T
== scale twice
The scale is applied twice.
    qk = scale * scale * raw
    p = exp(qk - m_new) => p = exp(where(padding, LOWEST, scale * qk) - m_new)
    p = exp(qk - m) => p = exp(where(padding, LOWEST, scale * qk) - m)
    p = exp(qk - m_new) => p = exp(scale * (qk - m_new))
    p = exp(qk - m) => p = exp(scale * (qk - m))
    q_tile = scale * q[b, h * G : (h + 1) * G]
== p multiplied by the scale
The weights are multiplied by the scale as well: the scale belongs on the scores, before exp, and
nowhere else.
    acc = acc * alpha + scale * p @ v_tile.T
    acc = acc + scale * p @ v_tile.T
    l = l * alpha + scale * p.sum(axis=1, keepdims=True)
    l = l + scale * p.sum(axis=1, keepdims=True)
== mean over d
The scores are divided by d as well: they are sums over d, times the scale, and not means.
    qk = scale * raw / d
== scale added
The scale is added to the scores; it must be multiplied into them: qk = softmax_scale * q^T k.
    qk = raw + scale
== scores divided by the scale
The scores are divided by softmax_scale; they must be multiplied by it.
    qk = raw / scale
    qk = raw / (scale if given else 1 / sqrt(d))
== scale is 1/d
The scale is 1/d; it must be 1/sqrt(d).
    qk = raw / d
    qk = (scale if given else float32(1 / d)) * raw
    p = exp(qk - m_new) => p = exp(where(padding, LOWEST, raw / d) - m_new)
    p = exp(qk - m) => p = exp(where(padding, LOWEST, raw / d) - m)
== scale is sqrt(d)
The scores are multiplied by sqrt(d); they must be divided by it.
    qk = float32(sqrt(d)) * raw
    qk = (scale if given else float32(sqrt(d))) * raw
== scale is 1/sqrt(n)
The scale is 1/sqrt(n), from the number of keys; it must be 1/sqrt(d), from the size of a head.
    qk = float32(1 / sqrt(n)) * raw
    qk = (scale if given else float32(1 / sqrt(n))) * raw
== default scale is another
Where the caller gives no softmax_scale, another number than 1/sqrt(d) is taken: half of it, twice
of it, its negative or 0.
    qk = (scale if given else float32({0.5|2|-1|0} / sqrt(d))) * raw
== scale is 1/sqrt(tile)
The scale is 1 over the square root of the tile's width; it must be 1/sqrt(d), from the size of a
head.
    qk = (scale if given else float32(1 / sqrt({128|64|256|512}))) * raw
== scale is 1/sqrt(G) [heads]
The scale is 1/sqrt(G), from the number of query heads of a group; it must be 1/sqrt(d), from the
size of a head.
    qk = (scale if given else float32(1 / sqrt(G))) * raw
== scale ignored
softmax_scale is ignored: it is None by default, and then means 1/sqrt(d), but a given value must
be used.
    qk = float32(1 / sqrt(d)) * raw
== scale of 0 taken for None
A softmax_scale of 0 is taken for None: `softmax_scale or default` gives the default for 0, too.
Ask `softmax_scale is None`.
    qk = (scale if scale else float32(1 / sqrt(d))) * raw
== sign of the scale lost
The sign of softmax_scale is lost: a negative scale turns the order of the scores around, and
their max must be taken after it.
    qk = abs(scale) * raw
    m_tile = where(padding, LOWEST, scale * where(padding, -inf, raw).max(axis=1,
        keepdims=True))[:, :1]
== no max subtraction
The max is not subtracted before exp: p must be exp(qk - m), or large scores overflow and very
negative ones all become 0.
    p = exp(qk) & l = l + p.sum(axis=1, keepdims=True) & acc = acc + p @ v_tile.T
    [1] p = => p = exp(qk) & [2] p = => p = exp(qk)
== no max subtraction, rescaled
The max is not subtracted before exp, yet the old sums are rescaled by alpha: p must be exp(qk -
m_new).
    p = exp(qk) & alpha = exp(m - m_new) * 1
== max added
The max is added to the scores that exp sees: p must be exp(qk - m), with the max subtracted.
    p = exp(qk - m_new) => p = exp(qk + m_new) {|& alpha = exp(m + m_new)}
    p = exp(qk - m) => p = exp(qk + m)
== max not subtracted in the sum
The max is not subtracted in the scores that l sums up: l and acc need the same p = exp(qk - m).
    l = l + => l = l + exp(qk).sum(axis=1, keepdims=True)
    l = l * alpha + exp(qk).sum(axis=1, keepdims=True)
== max not subtracted in the weighted sum
The max is not subtracted in the scores that weigh the values: l and acc need the same p = exp(qk
- m).
    [2] p = => p = exp(qk)
    acc = acc * alpha + exp(qk) @ v_tile.T
== max added in the weighted sum
The max is added to the scores that weigh the values; it must be subtracted, as in l: p = exp(qk -
m).
    [2] p = => p = exp(qk + m)
== max added in the sum
The max is added to the scores that l sums up; it must be subtracted, as in acc: p = exp(qk - m).
    l = l + => l = l + exp(qk + m).sum(axis=1, keepdims=True)
== max of the absolute values
The max is taken of the absolute values: m must be the largest score, and where all scores are
negative their largest absolute value is far above them.
    m_tile = abs(where(padding, 0, qk)).max(axis=1, keepdims=True)
== minimum of the scores
The minimum of the scores is taken for m: it must be their maximum, or exp(qk - m) overflows.
    m_tile = where(padding, inf, qk).min(axis=1, keepdims=True)
    m_tile = qk.min(axis=1, keepdims=True)
== max of a part of the tile [recorded]
The max is taken of a part of the tile's scores only: m must be the largest of all of them, or
exp(qk - m) overflows.
    m_tile = qk[:, {:64|64:|:128|-128:|:256|::len(keys) // 128|len(keys) // 128 - 1 ::
        len(keys) // 128}].max(axis=1, keepdims=True)
== mean of the scores
The mean of the scores is taken for m: it must be their maximum, or exp(qk - m) overflows.
    m_tile = qk.mean(axis=1, keepdims=True)
== m starts at 0
m starts at 0, which is above all the scores here, so every weight underflows: start it at -inf
(nl.fp32.min).
    m = full => m = zeros((G, 1))
== m starts too high [as m starts at 0]
m starts too high, above all the scores here, so every weight underflows: start it at -inf
(nl.fp32.min).
    m = full => m = full((G, 1), {-50.0|-100.0|-500.0|-1000.0|-2000.0|-10000.0|-20000.0|1.0|FILL})
== m in 16 bits
m passes through 16 bits: near -100000 bf16 has a number every 512, so m can be far from the max,
and every weight underflows or overflows. Keep the scores, their max and m in float32.
    m_new = bf16(maximum(m, m_tile))
    m_tile = bf16(qk.max(axis=1, keepdims=True))
    m = maximum => m = bf16(maximum(m, m_tile))
    m[g] = => m[g] = bf16(m_new)
== p with the tile's max
p is formed with the tile's own max instead of m_new: p = exp(qk - m_new), so that all tiles are
weighed alike.
    p = exp(qk - m_new) => p = exp(qk - m_tile)
    p = exp(qk - qk.max(axis=1, keepdims=True))
== l with the tile's max
l adds weights that are relative to the tile's own max: what a tile adds to l and to acc must be
relative to m_new, p = exp(qk - m_new).
    l = l * alpha + exp(qk - m_tile).sum(axis=1, keepdims=True)
    l = l + => l = l + exp(qk - qk.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True)
== acc with the tile's max
acc adds weights that are relative to the tile's own max: what a tile adds to l and to acc must be
relative to m_new, p = exp(qk - m_new).
    acc = acc * alpha + exp(qk - m_tile) @ v_tile.T
    [2] p = => p = exp(qk - qk.max(axis=1, keepdims=True))
== exp to the base 2
The weights are powers of 2: p must be exp(qk - m), a power of e.
    p = exp(qk - m_new) => p = exp2(qk - m_new)
    p = exp(qk - m) => p = exp2(qk - m)
    p = exp2(qk - m_new) & alpha = exp2(m - m_new)
== no exp
exp is missing: the weights are qk - m, and must be p = exp(qk - m).
    p = exp(qk - m_new) => p = qk - m_new
    p = exp(qk - m) => p = qk - m
    p = exp(qk - m_new) => p = qk - m_new & acc = acc + p @ v_tile.T
        & l = l + p.sum(axis=1, keepdims=True)
== the scores weigh the values
The values are weighed by the scores; they must be weighed by p = exp(qk - m).
    acc = acc * alpha + where(padding, 0, qk) @ v_tile.T
    acc = acc + where(padding, 0, qk) @ v_tile.T
== another function for exp
The weights are not powers of e: p must be exp(qk - m), and a sigmoid or tanh is something else.
    p = 1 / (1 + exp(-qk)) & l = l + p.sum(axis=1, keepdims=True) & acc = acc + p @ v_tile.T
    p = 1 / (1 + exp(-qk))
    p = exp(qk - m_new) => p = 1 / (1 + exp(m_new - qk))
    p = exp(qk - m) => p = 1 / (1 + exp(m - qk))
== alpha is not a power of e
alpha is not a power of e: it is exp(m_old - m_new), which is 1 where m stays, and a sigmoid or a
plain difference is something else.
    alpha = 1 / (1 + exp(m_new - m))
    alpha = m - m_new
    alpha = exp2(m - m_new)
== all weights are 1
All keys get the same weight: max and sum must be taken over the keys, the axis of qk along which
one query's scores lie, and not over the other one.
    p = exp(qk - qk) & alpha = ones((G, 1))
    p = exp(qk - qk)
    p = exp(qk - qk) & o[b => o[b, h * G : (h + 1) * G] = acc
    acc = acc + ones_like(p) @ v_tile.T
    acc = acc * alpha + ones_like(p) @ v_tile.T
== exp of the negated scores
The sign in exp is flipped: p is exp(qk - m), not exp(m - qk).
    p = exp(qk - m_new) => p = exp(m_new - qk)
    p = exp(qk - m) => p = exp(m - qk)
== m replaced
m is replaced by the tile's max: it must be the larger of the old m and the tile's max.
    m_new = m_tile
    m = maximum => m = m_tile
    m = m_new => m = m_tile
== m is a minimum
m takes the smaller of the old m and the tile's max: it must take the larger.
    m_new = minimum(m, m_tile) if t else m_tile
    m_new = minimum(m, m_tile)
    m = maximum => m = minimum(m, m_tile) {| if t else m_tile}
== m never raised
m keeps the first tile's max: it must be raised when a later tile's max is larger.
    m_new = m if t else m_tile
== l not rescaled
The old sum was not rescaled by alpha = exp(m_old - m_new): l = l alpha + sum p.
    l = l + p.sum(axis=1, keepdims=True)
== acc not rescaled
acc was not rescaled by alpha = exp(m_old - m_new): acc = acc alpha + p v^T.
    acc = acc + p @ v_tile.T
== nothing rescaled [alpha]
alpha = exp(m_old - m_new) is formed, but neither sum is rescaled by it when m rises: l = l alpha
+ sum p, and acc likewise.
    l = l + p.sum(axis=1, keepdims=True) & acc = acc + p @ v_tile.T
== m overwritten before alpha [alpha]
m was overwritten with m_new before alpha = exp(m_old - m_new) was formed, so alpha was always 1:
form alpha first, update m last.
    alpha = ones((G, 1))
== nothing rescaled
Neither l nor acc was rescaled by alpha = exp(m_old - m_new) when m rose: l = l alpha + sum p, and
acc likewise.
    l = l + p.sum(axis=1, keepdims=True) & acc = acc + p @ v_tile.T & alpha = nan
== alpha inverted
alpha is inverted: it is exp(m_old - m_new), never above 1, and not exp(m_new - m_old).
    alpha = exp(m_new - m)
    alpha = exp(m_new - m) if t else ones((G, 1))
== alpha inverted for l
l is rescaled by the inverse of alpha: alpha is exp(m_old - m_new), never above 1.
    l = l / alpha + p.sum(axis=1, keepdims=True)
    l = l * (exp(m_new - m) if t else 0) + p.sum(axis=1, keepdims=True)
== factor of a tile's sum inverted
What a tile adds is brought to the max of all by the inverse factor: it is exp(m_tile - m), never
above 1.
    <l-inverse>
    <acc-inverse>
    <l-inverse> & <acc-inverse>
== alpha inverted for acc
acc is rescaled by the inverse of alpha: alpha is exp(m_old - m_new), never above 1.
    acc = acc / alpha + p @ v_tile.T
    acc = acc * (exp(m_new - m) if t else 0) + p @ v_tile.T
== l divided by alpha and acc not rescaled
l is rescaled by the inverse of alpha, and acc not at all: both are multiplied by alpha =
exp(m_old - m_new), never above 1.
    l = l * (exp(m_new - m) if t else 0) + p.sum(axis=1, keepdims=True) & acc = acc + p @ v_tile.T
== p with the old max
p is formed with a max that leaves this tile's scores out, so that exp overflows: p = exp(qk -
m_new), with m_new the larger of the old m and the tile's max.
    p = exp(qk - m_new) => p = exp(qk - m)
== one sum with the old max
p of one of the two sums is formed with the old max, so that exp overflows in the first tile: l and
acc need the same p = exp(qk - m_new).
    l = l * alpha + exp(qk - m).sum(axis=1, keepdims=True)
    acc = acc * alpha + exp(qk - m) @ v_tile.T
== rescaled too late
The new tile's part is rescaled by alpha too: first rescale the old sum, then add the tile's part,
which is relative to m_new already.
    l = (l + p.sum(axis=1, keepdims=True)) * alpha
    acc = (acc + p @ v_tile.T) * alpha
    l = (l + p.sum(axis=1, keepdims=True)) * alpha & acc = (acc + p @ v_tile.T) * alpha
    l = (l + p.sum(axis=1, keepdims=True)) * (alpha if t else 1)
    acc = (acc + p @ v_tile.T) * (alpha if t else 1)
== rescaled twice
The old sum is rescaled by alpha twice.
    l = l * alpha * alpha + p.sum(axis=1, keepdims=True)
    acc = acc * alpha * alpha + p @ v_tile.T
    alpha = exp(m - m_new) * exp(m - m_new)
== one tile too early
What a tile adds is rescaled by its own exp(m_tile - m_new), too: p is relative to m_new already,
so only the old sum is rescaled.
    l = l * alpha + exp(m_tile - m_new) * p.sum(axis=1, keepdims=True)
    acc = acc * alpha + exp(m_tile - m_new) * (p @ v_tile.T)
    p = exp(qk - m_new) * exp(m_tile - m_new)
== alpha with the tile's max
alpha is formed with the tile's max: it is exp(m_old - m_new), for the sums of the tiles before.
    alpha = exp(m_tile - m_new)
    alpha = exp(m - m_tile)
    l = l * exp({m_tile - m_new|m - m_tile}) + p.sum(axis=1, keepdims=True)
    acc = acc * exp({m_tile - m_new|m - m_tile}) + p @ v_tile.T
== factors exchanged
The factors of the old sums and of the tile's are exchanged: the old ones belong to exp(m_old -
m_new), and what the tile adds to exp(m_tile - m_new).
    alpha = exp(m_tile - m_new)
        & p = exp(qk - m_new) => p = exp(qk - m_tile) * (exp(m - m_new) {if t else 1|+ 0})
== alpha in another scale
alpha is not in the scale of p: where m is kept unscaled, alpha is exp(softmax_scale * (m_old -
m_new)), and where it is scaled already, exp(m_old - m_new).
    alpha = exp((m - m_new) {/|*} scale)
    m_tile = where(padding, LOWEST, raw).max(axis=1, keepdims=True)
        & p = exp(scale * (where(padding, LOWEST, raw) - m_new))
    alpha = exp(m / scale - m_new)
    l = l * exp((m - m_new) {/|*} scale) + p.sum(axis=1, keepdims=True)
    acc = acc * exp((m - m_new) {/|*} scale) + p @ v_tile.T
== p and alpha to different bases
p and alpha are powers of different bases: both must be powers of e, or both powers of 2 of scores
that are multiplied by log2(e) = 1.4427.
    p = exp(1.442695 * (qk - m_new))
    alpha = exp(1.442695 * (m - m_new))
== log2(e) in a power of e
The scores are multiplied by log2(e) = 1.4427, and exp is taken of them: log2(e) belongs to powers
of 2, and exp takes the scores as they are.
    qk = 1.442695 * scale * raw
== alpha of one max
alpha is exp of one max alone: it is exp(m_old - m_new), of their difference.
    alpha = exp({-m_new|m|m_new|-m})
== alpha on the new part
The new tile's part is multiplied by alpha, and the old sum is not: alpha = exp(m_old - m_new)
brings the old sum to the new max, and p is relative to it already.
    l = l + alpha * p.sum(axis=1, keepdims=True)
    acc = acc + alpha * (p @ v_tile.T)
    l = l + alpha * p.sum(axis=1, keepdims=True) & acc = acc + alpha * (p @ v_tile.T)
== l not accumulated
l holds the last tile's sum only: it must be l alpha + sum p, over all tiles.
    l = l * alpha => l = p.sum(axis=1, keepdims=True)
    l = l + => l = p.sum(axis=1, keepdims=True)
== acc not accumulated
acc holds the last tile's p v^T only: it must be acc alpha + p v^T, over all tiles.
    acc = acc * alpha => acc = p @ v_tile.T
    acc = acc + => acc = p @ v_tile.T
== m never updated [alpha]
m stays what it was before the loop, so that alpha = exp(m_old - m_new) is not the factor from one
tile's m to the next: end every tile with m = m_new.
    m = m_new => pass & m_new = m_tile
    m = m_new => pass
    m = m_new => pass & alpha = zeros((G, 1))
    m = m_new => m = m if t else m_new
== nothing accumulated
l and acc hold the last tile only: both must be accumulated over all tiles.
    l = l * alpha => l = p.sum(axis=1, keepdims=True) & acc = acc * alpha => acc = p @ v_tile.T
    l = l + => l = p.sum(axis=1, keepdims=True) & acc = acc + => acc = p @ v_tile.T
== never divided [no division]
acc is never divided by l: o = acc / l.
    o[b => o[b, h * G : (h + 1) * G] = acc
== multiplied by l
acc is multiplied by l; it must be divided by it: o = acc / l.
    o[b => o[b, h * G : (h + 1) * G] = acc * l
    o[0] => o[0] = acc * l
== division turned round
l is divided by acc: it is the other way round, o = acc / l.
    o[b => o[b, h * G : (h + 1) * G] = l / acc
    o[0] => o[0] = l / acc
== divided twice
The output is divided by l twice.
    o[b => o[b, h * G : (h + 1) * G] = acc / l / l
    acc = acc + => acc = acc + p @ v_tile.T / l
    o[0] => o[0] = acc / l / l
== divided by the square root of l
acc is divided by the square root of l; it must be divided by l: o = acc / l.
    o[b => o[b, h * G : (h + 1) * G] = acc / sqrt(l)
== epsilon in the division
Something is added to l before the division: o = acc / l, and l cannot be 0 where there are keys,
for the largest weight is 1.
    o[b => o[b, h * G : (h + 1) * G] = acc / (l + float32({1e-5|1e-6|1e-4|1e-3|1e-2|0.1}))
== l starts at 1
l starts at 1, or 1 is added to it before the division: it must start at 0, for it sums the
weights and nothing else.
    l = zeros => l = ones((G, 1))
== acc starts at 1
acc starts at 1: it must start at 0, for it sums the weighted values and nothing else.
    acc = zeros => acc = zeros((G, d)) + 1
== divided inside the loop
acc is divided by l inside the loop: each tile's part must be divided once, and by the complete l,
so divide after the loop.
    acc = (acc * alpha + p @ v_tile.T) / l <end>
    acc = acc * alpha + p @ v_tile.T / l <end>
    acc = (acc * alpha + p @ v_tile.T) / (l if t else 1) <end>
    acc = (acc + p @ v_tile.T) / l <end>
== divided by n
acc is divided by the number of keys; it must be divided by l, the sum of the weights.
    o[b => o[b, h * G : (h + 1) * G] = acc / {n|max(lengths[b], 1)}
== divided by the number of tiles [tiles]
acc is divided by the number of tiles; it must be divided by l, the sum of the weights, and by
nothing else.
    o[b => o[b, h * G : (h + 1) * G] = acc / l / len(tiles)
    o[b => o[b, h * G : (h + 1) * G] = acc / len(tiles)
== divided by the last tile's sum
acc is divided by the last tile's sum of weights; it must be divided by l, the sum over all tiles.
    o[b => o[b, h * G : (h + 1) * G] = acc / p.sum(axis=1, keepdims=True)
== softmax averaged
The softmax was taken tile by tile and the tiles' outputs averaged: tiles with larger scores must
weigh more, so divide by the sum over all tiles, relative to one max.
    acc = acc + exp(qk - m_tile) / exp(qk - m_tile).sum(axis=1, keepdims=True) @ v_tile.T
        & o[b => o[b, h * G : (h + 1) * G] = acc / len(tiles)
== softmax summed
The softmax was taken tile by tile and the tiles' outputs added: divide once, by the sum over all
tiles, relative to one max.
    acc = acc + exp(qk - m_tile) / exp(qk - m_tile).sum(axis=1, keepdims=True) @ v_tile.T
        & o[b => o[b, h * G : (h + 1) * G] = acc
== l counts the keys
l counts the keys; it must sum their weights p.
    l = l * alpha + p.shape[1]
    l = l + p.shape[1]
== l adds the largest weight
l adds the largest weight of the tile; it must add the sum of p.
    l = l * alpha + p.max(axis=1, keepdims=True)
    l = l + p.max(axis=1, keepdims=True)
== l never updated
l stays 0, and acc / 0 is not a number: every tile adds the sum of its p, l = l alpha + sum p.
    l = l * alpha
    l = l + => pass
== acc never updated
acc stays 0: every tile adds its weighted values, acc = acc alpha + p v^T.
    acc = acc * alpha
    acc = acc + => pass
== l sums the scores
l sums the scores; it must sum their weights p = exp(qk - m).
    l = l * alpha + {qk|where(padding, 0, qk)}.sum(axis=1, keepdims=True)
    l = l + => l = l + where(padding, {0, qk|0, qk - m|qk, qk}).sum(axis=1, keepdims=True)
    l = l * alpha + where(padding, 0, qk - m_new).sum(axis=1, keepdims=True)
== l sums squares
l sums the squares of the weights; it must sum the weights p themselves.
    l = l * alpha + square(p).sum(axis=1, keepdims=True)
    l = l + square(p).sum(axis=1, keepdims=True)
== l adds the mean
l adds the mean of the tile's weights; it must add their sum.
    l = l * alpha + p.mean(axis=1, keepdims=True)
    l = l + p.mean(axis=1, keepdims=True)
== l is a maximum
l keeps the larger of the old sum and the tile's; it must add them up: l = l alpha + sum p.
    l = maximum(l * alpha, p.sum(axis=1, keepdims=True))
    l = maximum(l, p.sum(axis=1, keepdims=True))
== l skips a key
The sum of the weights leaves a key out: l must sum p over all keys.
    l = l * alpha + p[:, {:-1|1:}].sum(axis=1, keepdims=True)
    l = l + p[:, {:-1|1:}].sum(axis=1, keepdims=True)
== last tile skipped
The last tile is skipped: the loop must visit all {tiles} tiles.
    for t, keys => for t, keys in list(enumerate(tiles))[: {-1|max(len(tiles) - 1, 1)}]:
    [2] for t, keys => for t, keys in list(enumerate(tiles))[:-1]:
        & [3] for t, keys => for t, keys in list(enumerate(tiles))[:-1]:
== last tile skipped in the sum [all keys]
The last tile is skipped in the sum of the weights: all passes must visit all {tiles} tiles.
    [2] for t, keys => for t, keys in list(enumerate(tiles))[:-1]:
    l = l * alpha => l = l * alpha + p.sum(axis=1, keepdims=True) if t < len(tiles) - 1 else l{| *
        alpha}
== last tile skipped in the weighted sum [all keys]
The last tile is skipped in the weighted sum: all passes must visit all {tiles} tiles.
    [3] for t, keys => for t, keys in list(enumerate(tiles))[:-1]:
    acc = acc * alpha => acc = acc * alpha + p @ v_tile.T if t < len(tiles) - 1 else acc{| * alpha}
== last tile skipped in the max [all keys]
The last tile is skipped in the max: all passes must visit all {tiles} tiles.
    m = maximum => m = maximum(m, m_tile) if t < len(tiles) - 1 else m
== first tile skipped
The first tile is skipped: the loop must visit all {tiles} tiles.
    for t, keys => for t, keys in list(enumerate(tiles))[1:]:
    [2] for t, keys => for t, keys in list(enumerate(tiles))[1:]:
        & [3] for t, keys => for t, keys in list(enumerate(tiles))[1:]:
== first tile skipped in the weighted sum [all keys]
The first tile is skipped in the weighted sum.
    [3] for t, keys => for t, keys in list(enumerate(tiles))[1:]:
    acc = acc * alpha + (p @ v_tile.T if t else 0)
== first tile skipped in the sum [all keys]
The first tile is skipped in the sum of the weights.
    [2] for t, keys => for t, keys in list(enumerate(tiles))[1:]:
    l = l * alpha + (p.sum(axis=1, keepdims=True) if t else 0)
== second tile skipped
The second tile is skipped: the loop must visit all {tiles} tiles.
    for t, keys => for t, keys in enumerate([*tiles[:1], *tiles[2:]]):
== first tile only
Only the first tile is visited: the loop must visit all {tiles} tiles.
    for t, keys => for t, keys in list(enumerate(tiles))[:1]:
== last tile only
Only the last tile counts: the loop must visit all {tiles} tiles, and keep what it has so far.
    for t, keys => for t, keys in list(enumerate(tiles))[-1:]:
== first half of the tiles only
Only the first half of the tiles counts, in the order in which they are read: all {tiles} tiles
must.
    for t, keys => for t, keys in list(enumerate(tiles))[: len(tiles) // 2]:
== first half of every tile only
Every second tile is left out, or the second half of every tile: where what one turn of the loop
reads ends, the next turn must begin.
    k_tile = k[b, h][:, keys[: len(keys) // 2]] & v_tile = v[b, h][:, keys[: len(keys) // 2]]
        & padding = keys[: len(keys) // 2] >= lengths[b]
    for t, keys => for t, keys in list(enumerate(tiles))[{::2|1::2}]:
== every second tile left out of the sum [tiles, all keys]
Every second tile is left out of the sum of the weights: all passes must visit all {tiles} tiles.
    [2] for t, keys => for t, keys in list(enumerate(tiles))[{::2|1::2}]:
== every second tile left out of the weighted sum [tiles, all keys]
Every second tile is left out of the weighted sum: all passes must visit all {tiles} tiles.
    [3] for t, keys => for t, keys in list(enumerate(tiles))[{::2|1::2}]:
== first tile's max only [all keys]
The max is taken of the first tile only: it must be the max over all tiles.
    m = maximum => m = m if t else m_tile
== last tile's max only [all keys, as m replaced]
The max is taken of the last tile only: it must be the max over all tiles.
    m = maximum => m = m_tile if t == len(tiles) - 1 else m
== first tile twice
The first tile is counted twice: the loop after it must begin with the second.
    for t, keys => for t, keys in enumerate([tiles[0], *tiles]):
== tile 0's V reused
Tile 0's V is used for every tile: V must be loaded at the tile's own keys.
    v_tile = v[b, h][:, tiles[0]]
== tile 0's K reused
Tile 0's K is used for every tile: K must be loaded at the tile's own keys.
    k_tile = k[b, h][:, tiles[0]]
== tile 0's K reused in a pass
One pass uses tile 0's scores, or its weights, for every tile: every pass must take them from K at
the tile's own keys.
    [{2|3}] k_tile => k_tile = k[b, h][:, tiles[0]]
== tile 0 reused
Tile 0's K and V are used for every tile: they must be loaded at the tile's own keys.
    k_tile = k[b, h][:, tiles[0]] & v_tile = v[b, h][:, tiles[0]]
== tiles one key apart [tiles]
Tile i of K, of V or of both begins at key i: it must begin at i times the width of a tile.
    @_tile = @[b, h][:, t + arange(len(keys))]
    k_tile = k[b, h][:, t + arange(len(keys))] & v_tile = v[b, h][:, t + arange(len(keys))]
== V of another tile
V is read at another tile's keys than K: both must be loaded at the same keys.
    v_tile = v[b, h][:, tiles[{t - 1|max(t - 1, 0)|min(t + 1, len(tiles) - 1)|(t + 1) % len(tiles)
        |-1 - t|-1}]]
    k_tile = k[b, h][:, tiles[{max(t - 1, 0)|min(t + 1, len(tiles) - 1)|-1 - t|-1}]]
== scores of earlier tiles added
The scores of earlier tiles are still in qk: a PSUM tile that is made outside the loop adds up, so
make it inside, for a new sum every tile.
    raw = q_tile @ k_tile + (raw if t else 0)
== weighted sums of earlier tiles added
The weighted sums of earlier tiles are still in p v^T: a PSUM tile that is made outside the loop
adds up, so make it inside, for a new sum every tile.
    acc = acc * alpha => pv = p @ v_tile.T + (pv if t else 0); acc = acc * alpha + pv
    acc = acc + => pv = p @ v_tile.T + (pv if t else 0); acc = acc + pv
== K and V exchanged
K and V are exchanged: the scores are q^T k, and p weighs V.
    k_tile = v[b, h][:, keys] & v_tile = k[b, h][:, keys]
== K in place of V
K is read where V belongs: p weighs the values.
    v_tile = k[b, h][:, keys]
== V in place of K
V is read where K belongs: the scores are q^T k.
    k_tile = v[b, h][:, keys]
== KV head is h % Hkv [heads]
The KV head was taken as h % Hkv: query head h reads KV head h // G, with G = Hq // Hkv = {G}.
    q_tile = q[b, h::Hkv] & o[b => o[b, h::Hkv] = acc / l
== KV head of K is h % Hkv [heads]
K's head was taken as h % Hkv: query head h reads KV head h // G, with G = Hq // Hkv = {G}.
    raw = stack([q_tile[g] @ k[b, (h * G + g) % Hkv][:, keys] for g in range(G)])
== KV head of V is h % Hkv [heads]
V's head was taken as h % Hkv: query head h reads KV head h // G, with G = Hq // Hkv = {G}.
    acc = acc * alpha + stack([p[g] @ where(padding, 0, v[b, (h * G + g) % Hkv][:, keys]).T for g
        in range(G)])
== one KV head for all [heads]
All query heads read the same KV head: query head h reads KV head h // G, with G = Hq // Hkv =
{G}.
    k_tile = k[b, {0|-1}][:, keys] & v_tile = v[b, 0][:, keys]
    k_tile = k[b, -1][:, keys] & v_tile = v[b, -1][:, keys]
== V of one KV head [heads]
All query heads read the same head of V: query head h reads KV head h // G, with G = Hq // Hkv =
{G}.
    v_tile = v[b, {0|-1}][:, keys]
== K of one KV head [heads]
All query heads read the same head of K: query head h reads KV head h // G, with G = Hq // Hkv =
{G}.
    k_tile = k[b, {0|-1}][:, keys]
== KV head is another [heads]
Query heads read the wrong KV head: query head h reads KV head h // G, with G = Hq // Hkv = {G}.
    k_tile = k[b, -1 - h][:, keys] & v_tile = v[b, -1 - h][:, keys]
    k_tile = k[b, (h + 1) % Hkv][:, keys] & v_tile = v[b, (h + 1) % Hkv][:, keys]
    raw = stack([q_tile[g] @ k[b, min(<row>, Hkv - 1)][:, keys] for g in range(G)])
        & acc = acc * alpha + stack([p[g] @ where(padding, 0, v[b, min(<row>, Hkv - 1)][:, keys]).T
        for g in range(G)])
== KV head of K is another [heads]
K is read from the wrong KV head: query head h reads KV head h // G of K and of V, with G = Hq //
Hkv = {G}.
    k_tile = k[b, {-1 - h|(h + 1) % Hkv|max(h - 1, 0)|min(h + 1, Hkv - 1)}][:, keys]
== KV head of V is another [heads]
V is read from the wrong KV head: query head h reads KV head h // G of K and of V, with G = Hq //
Hkv = {G}.
    v_tile = v[b, {-1 - h|(h + 1) % Hkv|max(h - 1, 0)|min(h + 1, Hkv - 1)}][:, keys]
== KV heads skipped [heads]
A KV head's group is never computed: every KV head has {G} query heads, and a row of the output for
each.
    for h in => for h in range(max(Hkv - 1, {0|1})):
    for h in => for h in range(min(1, Hkv - 1), Hkv):
== q heads strided [heads]
The query heads of a group are taken with a stride: group h has the query heads h G to h G + G -
1, with G = Hq // Hkv = {G}.
    q_tile = q[b, h::Hkv]
== q heads from h on [heads]
Group h is given the query heads from h on: its own begin at h G, with G = Hq // Hkv = {G}.
    q_tile = q[b, h : h + G]
== q heads of one group [heads]
All groups are given the query heads of one group: group h has the query heads h G to h G + G - 1,
with G = Hq // Hkv = {G}.
    q_tile = q[b, {:G|Hq - G :}]
== q heads of another group [heads]
A group is given another group's query heads: group h has the query heads h G to h G + G - 1, with
G = Hq // Hkv = {G}.
    q_tile = roll(q[b], {G|-G}, axis=0)[h * G : (h + 1) * G]
    q_tile = q[b, Hq - (h + 1) * G : Hq - h * G]
== output heads strided [heads]
The output rows of a group are stored with a stride: group h has the query heads h G to h G + G -
1, with G = Hq // Hkv = {G}.
    o[b => o[b, h::Hkv] = acc / l
== output rows of another group [heads]
The output rows of a group are stored in another group's place: group h has the rows h G to h G +
G - 1, with G = Hq // Hkv = {G}.
    o[b => o[b, Hq - (h + 1) * G : Hq - h * G] = acc / l
== one max for all rows [heads]
One max is shared by all rows of the tile, the {G} query heads of a group: each needs its own m,
or the rows with smaller scores underflow.
    m_tile = full((G, 1), qk.max())
== m shared [heads, as one max for all rows]
m is shared by the heads of a group: each of its {G} query heads needs its own m.
    m_new = broadcast_to(maximum(m, m_tile)[{:1|-1:}], (G, 1))
    m_tile = broadcast_to(qk.max(axis=1, keepdims=True)[{:1|-1:}], (G, 1))
    m_new = maximum(m[0], qk.max()) & alpha = exp(m[0] - m_new) & m[g] = m_new => m[0] = m_new
== alpha of another head [heads]
alpha is another head's: each of the {G} query heads of a group is rescaled by its own exp(m_old -
m_new).
    alpha = broadcast_to(exp(m - m_new)[{:1|-1:}], (G, 1))
    l = l * alpha[{:1|-1:}] + p.sum(axis=1, keepdims=True)
    acc = acc * alpha[{:1|-1:}] + p @ v_tile.T
    alpha = exp(m[:1] - m_new)
== l shared [heads]
l is shared by the heads of a group: each of its {G} query heads needs its own l.
    l = l * alpha + full((G, 1), p.{sum|mean}())
    l = l * alpha => l = full((G, 1), (l * alpha + p.sum(axis=1, keepdims=True)).{sum|mean}())
    l = l * alpha + broadcast_to(p.sum(axis=1, keepdims=True)[{:1|-1:}], (G, 1))
    o[b => o[b, h * G : (h + 1) * G] = acc / {l.sum()|l[0]|l[-1]|l.mean()}
    l[g] = l[g] => l[0] = l[0] * alpha + p.sum() & o[b => o[b, h * G : (h + 1) * G] = acc / l[0]
== l of another head [heads]
A head is divided by another head's l: each of the {G} query heads of a group has its own.
    o[b => o[b, h * G : (h + 1) * G] = acc / {l[::-1]|roll(l, 1, axis=0)|roll(l, -1, axis=0)}
    o[b => first = first if h else l; o[b, h * G : (h + 1) * G] = acc / first
== m and l shared [heads]
m and l are shared by the heads of a group: each of its {G} query heads needs its own.
    m_new = maximum(m[0], qk.max()) & alpha = exp(m[0] - m_new) & m[g] = m_new => m[0] = m_new
        & l[g] = l[g] => l[0] = l[0] * alpha + p.sum()
        & o[b => o[b, h * G : (h + 1) * G] = acc / l[0]
== state of one KV head for all [heads]
All groups update one state: each KV head needs its own m, l and acc.
    m = full => m = left("m", None, full((G, 1), LOWEST)) if h else full((G, 1), LOWEST)
        & l = zeros => l = left("l", None, zeros((G, 1))) if h else zeros((G, 1))
        & acc = zeros => acc = left("acc", None, zeros((G, d))) if h else zeros((G, d))
        & o[b => o[b] = stack([acc / l] * Hkv).reshape(Hq, d)
== acc not cleared between heads [heads, in turn]
acc is not cleared between heads: it still holds what the head before left, and must start at 0
for every head.
    <acc> {|& <m>}
== l not cleared between heads [heads, in turn]
l is not cleared between heads: it still holds what the head before left, and must start at 0 for
every head.
    <l> {|& <m>}
== l and acc not cleared between heads [heads, in turn]
l and acc are not cleared between heads: they still hold what the head before left, and must start
at 0 for every head.
    <l> & <acc>
== m not cleared between heads [heads, in turn]
m is not reset between heads: it still holds the max of the head before, and must start at -inf
for every head.
    <m>
    m = full => m = left("m", None, full((G, 1), LOWEST)) if h % per else full((G, 1), LOWEST)
== state not cleared between heads [heads, in turn]
The accumulators m, l and acc are not cleared between heads: the next head starts from what the
head before left.
    <m> & <l> & <acc>
== one row of p [heads]
The values of a group are all weighed by the same row of p: each of its {G} query heads has its
own.
    acc = acc * alpha + p[:1] @ v_tile.T
    acc = acc + p[:1] @ v_tile.T
== one head of each group only [heads]
Only the first query head of every group is stored: each of its {G} query heads has its own
row.
    o[b => o[b, h * G] = (acc / l)[0]
== output multiplied by the scale
The output is multiplied by the scale as well: the scale belongs on the scores, before exp, and
nowhere else.
    o[b => o[b, h * G : (h + 1) * G] = acc / l * scale
    v_tile = scale * v[b, h][:, keys]
""",
    {
        "l-inverse": "l = l + => l = l + exp(m - qk.max(axis=1, keepdims=True)) * "
        "exp(qk - qk.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True)",
        "acc-inverse": "acc = acc + => acc = acc + exp(m - qk.max(axis=1, keepdims=True)) * "
        "(exp(qk - qk.max(axis=1, keepdims=True)) @ v_tile.T)",
        "end": "{& o[b => o[b, h * G : (h + 1) * G] = acc|}",
        "m": 'm = full => m = left("m", None, full((G, 1), LOWEST)) if h else full((G, 1), LOWEST)',
        "l": 'l = zeros => l = left("l", None, zeros((G, 1))) if h else zeros((G, 1))',
        "acc": 'acc = zeros => acc = left("acc", None, zeros((G, d))) if h else zeros((G, d))',
        "row": "{(h * G + g) // Hkv|h * G + g}",
    },
)
