"""The known mistakes of every attention stage: the sentence of each, and the twin's lines written
wrongly.

Order matters only between mistakes that answer alike and that nothing recorded tells apart: the
earlier one is named.
"""

from __future__ import annotations

from ..reference.mistake import read
from .heads import HEADS

_OF_A_ROW = read(
    """
== scale missing
The scale is missing: qk must be softmax_scale * q^T k, and softmax_scale is 1/sqrt(d) =
1/{sqrt_d} unless the caller gives one.
    qk = {raw|(scale if given else 1) * raw}
    qk = raw & alpha = exp(scale * (m - m_new))
== scale only on the max
The scale is applied to the max but not to the scores that exp sees: both must be scaled, or the
max is not the max of what exp sees.
    p = exp(qk - m@) => p = exp(where(padding, LOWEST, raw) - m@)
== scale only on the scores
The scale is applied to the scores but not to the max subtracted from them: both must be scaled.
    m_tile = where(padding, LOWEST, raw).max(axis=1, keepdims=True)
        {|& alpha = exp(scale * m - m_new)}
== max scaled twice [recorded]
The max is scaled twice and the scores once: subtract m as it is, p = exp(qk - m).
    p = exp(qk - m@) => p = exp(qk - scale * m@)
    p = exp(qk - m_new) => p = exp(qk - scale * m_new) & alpha = exp(m - scale * m_new)
    m_tile = scale * qk.max(axis=1, keepdims=True)
== scale missing in some tiles [tiles]
The scale is missing in some of the tiles, the first one or those after it: every tile needs the
same qk = softmax_scale * q^T k.
    qk = (raw if t else scale * raw)
    qk = (scale * raw if t else raw)
== scale missing for some heads [heads]
The scale is missing for some of the query heads: every head needs the same qk = softmax_scale *
q^T k.
    qk = ({raw if h else scale * raw|scale * raw if h else raw})
    qk = where(arange(G)[:, None] {>|==} 0, scale, 1) * raw
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
    p = exp(qk - m@) => p = exp(where(padding, LOWEST, scale * qk) - m@)
    p = exp(qk - m@) => p = exp(scale * (qk - m@))
    q_tile = scale * q[b, h * G : (h + 1) * G]
== p multiplied by the scale
The weights are multiplied by the scale as well: the scale belongs on the scores, before exp, and
nowhere else.
    acc = acc{ * alpha|} + scale * p @ v_tile.T
    l = l{ * alpha|} + scale * p.sum(axis=1, keepdims=True)
== mean over d
The scores are divided by d as well: they are sums over d, times the scale, and not means.
    qk = scale * raw / d
== scale added
The scale is added to the scores; it must be multiplied into them: qk = softmax_scale * q^T k.
    qk = raw + scale
== scores divided by the scale
The scores are divided by softmax_scale; they must be multiplied by it.
    qk = raw / scale
    qk = raw / (scale if given else sqrt(d))
== scale is 1/d
The scale is 1/d; it must be 1/sqrt(d).
    qk = raw / d
    qk = (scale if given else float32(1 / d)) * raw
    p = exp(qk - m@) => p = exp(where(padding, LOWEST, raw / d) - m@)
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
of it, its negative, 0, or one with the width of a tile or the number of heads in it.
    qk = (scale if given else float32({0.5|2|-1|0} / sqrt(d))) * raw
    qk = (scale if given else float32(1 / sqrt({128|64|256|512|G|d * G|d * Hq|d * Hkv}))) * raw
== scale ignored
softmax_scale is ignored: where None, its default, it means 1/sqrt(d); a given value must be used.
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
The max is added to the scores that exp sees, or its sign is wrong: p must be exp(qk - m), with the
max subtracted.
    p = exp(qk - m_new) => p = exp(qk + m_new) {|& alpha = exp(m + m_new)}
    p = exp(qk - m) => p = exp(qk + m)
    m_new = minimum(m, m_tile) if t else m_tile & p = exp(qk - m_new) => p = exp(qk + m_new)
        & alpha = exp(m_new - m) if t else zeros((G, 1))
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
== absolute values of the scores
exp sees the absolute values of the scores: a negative score must stay negative.
    p = exp(qk - m@) => p = exp(where(padding, LOWEST, abs(qk)) - m@)
    qk = abs(scale * raw)
== p squared
The weights are squared, or the scores doubled in exp: p = exp(qk - m).
    p = exp(qk - m@) => p = square(exp(qk - m@))
== p squared in the weighted sum
The values are weighed by the squares of the weights: l sums p, and acc needs the same p.
    acc = acc{ * alpha|} + square(p) @ v_tile.T
== max subtracted twice [recorded]
The max is subtracted twice from the scores that exp sees: p = exp(qk - m_new).
    p = exp(qk - m@) => p = exp(qk - m@ - m@)
== maxima added up [recorded]
m adds up the maxima of the tiles, or is their mean: it must be the largest of them.
    m = maximum => m = (m if t else 0) + m_tile
    m = maximum => m = ((m if t else 0) * t + m_tile) / (t + 1)
    m_new = (m if t else 0) + m_tile
== minimum of the scores
The minimum of the scores is taken for m: it must be their maximum, or exp(qk - m) overflows.
    m_tile = where(padding, inf, qk).min(axis=1, keepdims=True)
    m_tile = qk.min(axis=1, keepdims=True)
== max of a part of the tile [recorded]
The max is taken of a part of the tile's scores only: m must be the largest of all of them, or
exp(qk - m) overflows.
    m_tile = qk[:, {:1|-1:|:64|64:|:128|-128:|:256|::len(keys) // 128|len(keys) // 128 - 1 ::
        len(keys) // 128}].max(axis=1, keepdims=True)
== multiple of the max [recorded]
m is a multiple of the max, or capped: it must be the largest score itself, or exp(qk - m)
overflows.
    m_tile = {0.5|0.9|2} * qk.max(axis=1, keepdims=True)
    m_tile = minimum(qk.max(axis=1, keepdims=True), {1|10|50|80|88|100})
== mean of the scores
The mean of the scores is taken for m, or their sum: it must be their maximum, or exp(qk - m)
overflows.
    m_tile = qk.{mean|sum}(axis=1, keepdims=True)
== m starts at 0
m starts at 0, which is above all the scores here, and where they are far below it every weight
underflows: start it at -inf (nl.fp32.min).
    m = full => m = zeros((G, 1))
== m starts at 0, l at 1
m starts at 0 and l at 1: m must start at the lowest number (nl.fp32.min), and l at 0.
    m = full => m = zeros((G, 1)) & l = zeros => l = ones((G, 1))
== m starts too high [as m starts at 0]
m starts too high, above all the scores here, so every weight underflows: start it at -inf
(nl.fp32.min).
    m = full => m = full((G, 1), {-50.0|-100.0|-500.0|-1000.0|-2000.0|-1e4|-2e4|1.0|1e38|FILL})
== m in 16 bits
m passes through 16 bits: near -100000 bf16 has a number every 512, so m can be far from the max,
and every weight underflows or overflows. Keep the scores, their max and m in float32.
    m_new = bf16(maximum(m, m_tile))
    m_tile = bf16(qk.max(axis=1, keepdims=True))
    m = maximum => m = bf16(maximum(m, m_tile))
    ms[x] = bf16(top)
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
    p = exp(qk - m@) => p = exp2(qk - m@)
    p = exp2(qk - m_new) & alpha = exp2(m - m_new)
== no exp
exp is missing: the weights are qk - m, and must be p = exp(qk - m).
    p = exp(qk - m@) => p = qk - m@
    p = exp(qk - m_new) => p = qk - m_new & acc = acc + p @ v_tile.T
        & l = l + p.sum(axis=1, keepdims=True)
== the scores weigh the values
The values are weighed by the scores; they must be weighed by p = exp(qk - m).
    acc = acc{ * alpha|} + where(padding, 0, qk) @ v_tile.T
    acc = acc {|* alpha }+ => acc = acc + where(padding, 0, qk) @ v_tile.T
        & o[b => o[b, h * G : (h + 1) * G] = acc
== another function for exp
The weights are not powers of e: p must be exp(qk - m), and a sigmoid or tanh is something else.
    p = 1 / (1 + exp(-qk)) {& l = l + p.sum(axis=1, keepdims=True) & acc = acc + p @ v_tile.T|}
    p = exp(qk - m@) => p = 1 / (1 + exp(m@ - qk))
== alpha is not a power of e
alpha is not a power of e: it is exp(m_old - m_new), which is 1 where m stays, and a sigmoid, a
quotient or a plain difference is something else.
    alpha = 1 / (1 + exp(m_new - m))
    alpha = m {-|/} m_new
    alpha = exp2(m - m_new)
== all weights are 1
All keys get the same weight: max and sum must be taken over the keys, the axis of qk along which
one query's scores lie, and not over the other one.
    p = exp(qk - qk) {& alpha = ones((G, 1))||& <out> acc}
    acc = acc{ * alpha|} + ones_like(p) @ v_tile.T
== exp of the negated scores
The sign in exp is flipped: p is exp(qk - m), not exp(m - qk).
    p = exp(qk - m@) => p = exp(m@ - qk)
== m replaced
m is replaced by the tile's max: it must be the larger of the old m and the tile's max.
    m_new = m_tile
    m = {maximum|m_new} => m = m_tile
== m never raised [recorded]
m keeps the first tile's max: it must be raised when a later tile's max is larger.
    m_new = m if t else m_tile
== m is a minimum
m stays at its start, or takes the smaller of the old m and the tile's max, or something between
them: it must take the larger.
    m_new = minimum(m, m_tile) {if t else m_tile|}
    m = maximum => m = minimum(m, m_tile) {| if t else m_tile}
== l not rescaled
The old sum was not rescaled by alpha = exp(m_old - m_new): l = l alpha + sum p.
    l = l + p.sum(axis=1, keepdims=True)
    <lanes> & ls[y] = ls[y] + w.sum(axis=1, keepdims=True)
== acc not rescaled
acc was not rescaled by alpha = exp(m_old - m_new): acc = acc alpha + p v^T.
    acc = acc + p @ v_tile.T
    <lanes> & accs[z] = accs[z] + w @ values.T
== nothing rescaled [alpha]
alpha = exp(m_old - m_new) is formed, but neither sum is rescaled by it when m rises: l = l alpha
+ sum p, and acc likewise.
    l = l + p.sum(axis=1, keepdims=True) & acc = acc + p @ v_tile.T
== m overwritten before alpha [alpha]
alpha is always 1, as if m was overwritten with m_new before alpha = exp(m_old - m_new) was formed:
form alpha first, update m last.
    alpha = ones((G, 1))
== nothing rescaled
Neither l nor acc was rescaled by alpha = exp(m_old - m_new) when m rose: l = l alpha + sum p, and
acc likewise.
    l = l + p.sum(axis=1, keepdims=True) & acc = acc + p @ v_tile.T & alpha = nan
== alpha inverted
alpha is inverted: it is exp(m_old - m_new), never above 1, and not exp(m_new - m_old).
    alpha = exp(m_new - m) {|if t else ones((G, 1))}
== alpha inverted for l
l is rescaled by the inverse of alpha: alpha is exp(m_old - m_new), never above 1.
    l = l / alpha + p.sum(axis=1, keepdims=True)
    l = l * (exp(m_new - m) if t else 0) + p.sum(axis=1, keepdims=True)
== factor of a tile's sum inverted
What a tile adds is brought to the max of all by the inverse factor: it is exp(m_tile - m), never
above 1.
    {<l-inverse>|<acc-inverse>|<l-inverse> & <acc-inverse>}
    p = exp(qk - m_new) => p = exp(qk - m_tile + m_new - m_tile)
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
    p = exp(qk - m_new) => p = exp(qk - m) {|& alpha = exp(m - m)}
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
== rescaled by a max
The old sum is multiplied by a max of the scores, or by a tile's sum; it must be multiplied by alpha
= exp(m_old - m_new).
    l = l * {m|m_new|m_tile|p.sum(axis=1, keepdims=True)} + p.sum(axis=1, keepdims=True)
    acc = acc * {m|m_new|m_tile|p.sum(axis=1, keepdims=True)} + p @ v_tile.T
== alpha added
alpha is added to the old sum; it must be multiplied into it: l = l alpha + sum p, and acc likewise.
    l = l + alpha + p.sum(axis=1, keepdims=True)
    acc = acc + alpha + p @ v_tile.T
== operations exchanged
What must be multiplied is added, or the other way round: l = l alpha + sum p, and acc likewise.
    l = (l + alpha) * p.sum(axis=1, keepdims=True)
    l = l * p.sum(axis=1, keepdims=True) + alpha
    acc = (acc + alpha) * (p @ v_tile.T)
== part subtracted
What a tile brings is subtracted; it must be added: l = l alpha + sum p, acc = acc alpha + p v^T.
    l = l{ * alpha|} - p.sum(axis=1, keepdims=True)
    acc = acc{ * alpha|} - p @ v_tile.T
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
== max added in alpha
alpha is exp of the sum of the two maxima, or of its negative: it is exp(m_old - m_new), of their
difference.
    alpha = exp({m + m_new|-m - m_new})
== p and alpha with the tile's max
p and alpha are formed with the tile's own max in place of m_new: p = exp(qk - m_new), and alpha =
exp(m_old - m_new).
    p = exp(qk - m_new) => p = exp(qk - m_tile) & alpha = exp(m - m_tile)
== alpha on the new part
The new tile's part is multiplied by alpha, and the old sum is not: alpha = exp(m_old - m_new)
brings the old sum to the new max, and p is relative to it already.
    l = l + {alpha|(alpha if t else 1)} * p.sum(axis=1, keepdims=True)
    acc = acc + {alpha|(alpha if t else 1)} * (p @ v_tile.T)
    l = l + alpha * p.sum(axis=1, keepdims=True) & acc = acc + alpha * (p @ v_tile.T)
== l not accumulated
l holds the last tile's sum only: it must be l alpha + sum p, over all tiles.
    l = l {*|+} => l = p.sum(axis=1, keepdims=True)
== acc not accumulated
acc holds the last tile's p v^T only: it must be acc alpha + p v^T, over all tiles.
    acc = acc {*|+} => acc = p @ v_tile.T
== m never updated [alpha]
m is not updated by every tile, so that alpha = exp(m_old - m_new) is not the factor from one tile's
m to the next: end every tile with m = m_new.
    m = m_new => pass {& m_new = m_tile||& alpha = zeros((G, 1))}
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
== divided by m
acc is divided by m, the max, or by -m; it must be divided by l, the sum of the weights: o = acc /
l.
    <out> acc / {m|-m}
    o[0] => o[0] = acc / m
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
    acc = (acc * alpha + p @ v_tile.T) / {l|(l if t else 1)} <end>
    acc = acc * alpha + p @ v_tile.T / l <end>
    acc = (acc + p @ v_tile.T) / l <end>
== tile divided by its own sum [tiles]
What a tile adds to acc is divided by the tile's own sum: divide once, by l, after the loop.
    acc = acc + p @ v_tile.T / p.sum(axis=1, keepdims=True)
    acc = acc * alpha + p @ v_tile.T / p.sum(axis=1, keepdims=True){| * exp(m_tile - m_new)}
== divided by a column of acc
acc is divided by one of its own columns; it must be divided by l, the sum of the weights.
    o[b => o[b, h * G : (h + 1) * G] = acc / acc[:, {-1:|:1}]
== divided by n
acc is divided by the number of keys; it must be divided by l, the sum of the weights.
    o[b => o[b, h * G : (h + 1) * G] = acc / {n|max(lengths[b], 1)}
== divided by the number of tiles [tiles]
acc is divided by the number of tiles; it must be divided by l, the sum of the weights, and by
nothing else.
    <out> acc {/ l|}/ len(tiles)
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
    l = l{ * alpha|} + p.shape[1]
== l adds the largest weight
l adds the largest weight of the tile; it must add the sum of p.
    l = l{ * alpha|} + p.max(axis=1, keepdims=True)
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
== ones are not 1
A sum is multiplied by another number as well: where a matmul with ones adds up p, or copies alpha
to all partitions, the ones must be 1, and not a width or its inverse.
    l = l * alpha + {len(keys)|128|d|G|n|2} * p.sum(axis=1, keepdims=True)
    acc = acc * alpha {*|/} {d|128|G} + p @ v_tile.T
== l sums squares
l sums the squares of the weights; it must sum the weights p themselves.
    l = l{ * alpha|} + square(p).sum(axis=1, keepdims=True)
== l adds the mean
l is a mean, of weights or of the tiles' sums; it must be the sum of all weights.
    o[b => o[b, h * G : (h + 1) * G] = acc / (l / {n|len(tiles)})
    l = l{ * alpha|} + p.mean(axis=1, keepdims=True)
== l is a maximum
l keeps the larger of the old sum and the tile's; it must add them up: l = l alpha + sum p.
    l = maximum(l{ * alpha|}, p.sum(axis=1, keepdims=True))
== l skips a key
The sum of the weights leaves a key out: l must sum p over all keys.
    l = l{ * alpha|} + p[:, {:-1|1:}].sum(axis=1, keepdims=True)
== sum of a part of the tile
One of the two sums takes a part of every tile: l sums p over all keys, and acc weighs all values.
    l = l{ * alpha|} + (p * <half>).sum(axis=1, keepdims=True)
    l = l * alpha + p[:, {:1|-1:}].sum(axis=1, keepdims=True)
    acc = acc{ * alpha|} + (p * <half>) @ v_tile.T
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
== first tile skipped in the max [all keys, recorded]
The first tile is skipped in the max: all passes must visit all {tiles} tiles.
    m = maximum => m = maximum(m, m_tile) if t else m
== every second tile left out of the max [tiles, all keys, recorded]
Half of the tiles are left out of the max: all passes must visit all {tiles} tiles.
    m = maximum => m = maximum(m, m_tile) if {t % 2 == 0|t % 2 or len(tiles) == 1|t < max(len(tiles)
        // 2, 1)} else m
== first tile skipped in the weighted sum [all keys]
The first tile is skipped in the weighted sum.
    [3] for t, keys => for t, keys in list(enumerate(tiles))[1:]:
    acc = acc * alpha + (p @ v_tile.T if t else 0)
== first tile skipped in the sum [all keys]
The first tile is skipped in the sum of the weights.
    [2] for t, keys => for t, keys in list(enumerate(tiles))[1:]:
    l = l * alpha + (p.sum(axis=1, keepdims=True) if t else 0)
== first tile only
Only the first tile is visited: the loop must visit all {tiles} tiles.
    for t, keys => for t, keys in list(enumerate(tiles))[:1]:
== last tile only [starts again]
Only the last tile counts: the loop must visit all {tiles} tiles, and carry m, l and acc from each
to the next. Make them before the loop, and keep the new m at its end.
    for t, keys => for t, keys in list(enumerate(tiles))[-1:]:
== first half of the tiles only
Only the first half of the tiles counts, in the order of their loads: all {tiles} tiles must.
    for t, keys => for t, keys in list(enumerate(tiles))[: len(tiles) // 2]:
== first half of every tile only
Every second tile does not count, or the second half of every tile: where what one turn of the loop
reads ends, the next turn must begin, and what was summed apart must be added up in the end.
    p = exp(qk - m@) => p = exp(qk - m@) * <half>
    k_tile = k[b, h][:, keys[: len(keys) // 2]] & v_tile = v[b, h][:, keys[: len(keys) // 2]]
        & padding = keys[: len(keys) // 2] >= lengths[b]
    for t, keys => for t, keys in list(enumerate(tiles))[{::2|1::2}] or enumerate(tiles):
== second tile skipped
The second tile is skipped: the loop must visit all {tiles} tiles.
    for t, keys => for t, keys in enumerate([*tiles[:1], *tiles[2:]]):
== first tile's sum only [all keys]
One of the two sums leaves tiles out: l sums the weights of all tiles, and acc weighs the values of
all.
    l = l + => l = l + p.sum(axis=1, keepdims=True) * (t == 0)
    l = l * alpha + p.sum(axis=1, keepdims=True) * (t == 0)
    l = l * alpha => l = l if t else p.sum(axis=1, keepdims=True)
    acc = acc * alpha => acc = acc if t else p @ v_tile.T
    acc = acc + => acc = acc + p @ v_tile.T * (t == 0)
    acc = acc * alpha + p @ v_tile.T * (t == 0)
== every second tile left out of the sum [tiles, all keys]
Half of the tiles are left out of the sum of the weights: all passes must visit all {tiles} tiles.
    [2] for t, keys => for t, keys in list(enumerate(tiles))[{::2|1::2|: len(tiles) // 2}]:
== every second tile left out of the weighted sum [tiles, all keys]
Half of the tiles are left out of the weighted sum: all passes must visit all {tiles} tiles.
    [3] for t, keys => for t, keys in list(enumerate(tiles))[{::2|1::2|: len(tiles) // 2}]:
== first tile's max only [all keys, recorded]
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
    v_tile = v[b, h][:, tiles[0][: len(keys)]]
== tile 0's K reused
Tile 0's K is used for every tile: K must be loaded at the tile's own keys.
    k_tile = k[b, h][:, tiles[0][: len(keys)]]
== tile 0's K reused in a pass
One pass uses tile 0's scores, or its weights, for every tile: every pass must take them from K at
the tile's own keys.
    [{2|3}] k_tile => k_tile = k[b, h][:, tiles[0][: len(keys)]]
== tile 0 reused
Tile 0's K and V are used for every tile: they must be loaded at the tile's own keys.
    k_tile = k[b, h][:, tiles[0][: len(keys)]] & v_tile = v[b, h][:, tiles[0][: len(keys)]]
== tiles one key apart [tiles]
Tile i of K, of V or of both begins at key i: it must begin at i times the width of a tile.
    @_tile = @[b, h][:, t + arange(len(keys))]
    k_tile = k[b, h][:, t + arange(len(keys))] & v_tile = v[b, h][:, t + arange(len(keys))]
== tiles overlap [tiles]
A tile of K, of V or of both begins before the one before it ends: tile i must begin at i times the
width of a tile.
    @_tile = @[b, h][:, t * <less> + arange(len(keys))]
    @_tile = @[b, h][:, keys - t * max(len(keys) - 128, 0)]
    for t, keys => for t, keys in enumerate([i + arange(len(tiles[0])) for i in range(0, n -
        len(tiles[0]) + 1, max(len(tiles[0]) // 2, 1))]):
    for t, keys => for t, keys in enumerate([t * <less> + arange(len(keys)) for t, keys in
        enumerate(tiles)]):
== V a key off
V is a key off: the values that p weighs must be those of p's own keys.
    v_tile = v[b, h][:, {maximum(keys - 1, 0)|minimum(keys + 1, n - 1)|(keys + 1) % n|keys - 1
        |keys - (t > 0)|keys + (t < len(tiles) - 1)}]
    acc = acc * alpha + p @ roll(v_tile, {1|-1}, axis=1).T
== V of another tile
V is read at another tile's keys than K: both must be loaded at the same keys.
    v_tile = v[b, h][:, tiles[{t - 1|max(t - 1, 0)|min(t + 1, len(tiles) - 1)|(t + 1) % len(tiles)
        |-1 - t|-1}]]
    v_tile = v[b, h][:, (keys {+|-} 128) % n]
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
== states merged without their factors [tiles]
Several states are kept, and their l, their acc or both are added as they are: each is relative to
its own m, and must first be multiplied by exp(its m - the max of all).
    <lanes> & {factor = ones_like(M)|<out> A.sum(axis=0) / (L * factor).sum(axis=0)|<out> (A *
        factor).sum(axis=0) / L.sum(axis=0)}
== states merged by the wrong factors [tiles]
Several states are kept, and each is multiplied by another one's factor, or by its inverse: it is
exp(its m - the max of all).
    <lanes> & factor = exp(M - M.max(axis=0)){[::-1]|** -1|; factor[0] **= -1|; factor[-1] **= -1}
    <lanes> & mixed, total = (A {* factor[::-1]).sum(axis=0), (L * factor|/ factor).sum(axis=0), (L
        * factor|* factor).sum(axis=0), (L * factor[::-1]|* factor).sum(axis=0), (L /
        factor}).sum(axis=0)
== outputs of several states averaged [tiles]
Several states are kept, and their outputs averaged: a state with larger scores must weigh more.
Multiply l and acc by exp(its m - the max of all), add them up, and divide once.
    <lanes> & o[b => o[b, h * G : (h + 1) * G] = where(L > 0, A / L, 0).mean(axis=0)
== several states with one max [tiles]
Several states are kept, and one m is read for all of them: each needs its own, or alpha is not the
factor from its last max to its next.
    <lanes> & fade = exp(ms[b, h, 0] - top)
    <lanes> & at_m = lambda b, h, i: (b, h, 0)
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
        "lanes": "W = {2|4} {|& lane = t // -(-len(tiles) // W)}",
        "out": "o[b => o[b, h * G : (h + 1) * G] =",
        "less": "min({64|128}, len(keys) // 2)",
        "half": "(arange(len(keys)) {<|>=} len(keys) // 2)",
        "end": "{& o[b => o[b, h * G : (h + 1) * G] = acc|}",
    },
)
ATTENTION = (*_OF_A_ROW, *HEADS)
