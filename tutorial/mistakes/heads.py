"""The known mistakes with heads: whose query, K, V and state; in the form of
`reference.mistake`."""

from __future__ import annotations

from ..reference.mistake import read

HEADS = read(
    """
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
    k_tile = k[b, h % 2][:, keys] & v_tile = v[b, h % 2][:, keys]
    k_tile = k[b, h // 2][:, keys] & v_tile = v[b, h // 2][:, keys]
    raw = stack([q_tile[g] @ k[b, min(<row>, Hkv - 1)][:, keys] for g in range(G)])
        & acc = acc * alpha + stack([p[g] @ where(padding, 0, v[b, min(<row>, Hkv - 1)][:, keys]).T
        for g in range(G)])
== KV head of K is another [heads]
K is read from the wrong KV head: query head h reads KV head h // G of K and of V, with G = Hq //
Hkv = {G}.
    k_tile = k[b, <wrong>][:, keys]
== KV head of V is another [heads]
V is read from the wrong KV head: query head h reads KV head h // G of K and of V, with G = Hq //
Hkv = {G}.
    v_tile = v[b, <wrong>][:, keys]
== KV heads skipped [heads]
A KV head's group is never computed: every KV head has {G} query heads, and o a row for each.
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
== q of one head [heads]
All heads of a group are given the query of one head: query head h has column h of q.
    q_tile = q[b, {h * G|h|0}] + zeros((G, d))
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
== one max for all heads [heads, recorded]
One max is shared by all query heads, those of other groups too: each needs its own m, or the heads
with smaller scores underflow.
    m_tile = full((G, 1), max([where(keys >= lengths[b], LOWEST, scale * (q[b, i * G : (i + 1) * G]
        @ k[b, i][:, keys])).max() for i in range(Hkv)]))
== m shared [heads, in turn, as one max for all rows]
m is shared by the heads of a group: each of its {G} query heads needs its own m.
    m_new = broadcast_to(maximum(m, m_tile)[{:1|-1:}], (G, 1))
    m_tile = broadcast_to(qk.max(axis=1, keepdims=True)[{:1|-1:}], (G, 1))
    at_m = lambda b, h, i: <group>
== m of another head [heads, in turn]
One head's m is read, or written, where another's belongs: each of the {G} query heads has its own.
    m_new = maximum(m[{:1|-1:}], m_tile)
    p = exp(qk - m_new) => p = exp(qk - m_new[{:1|-1:}])
    top = maximum(ms[<first>], s.max(axis=1, keepdims=True))
    top = => at = (<first>); top = maximum(ms[at], s.max(axis=1, keepdims=True))
        & fade = exp(ms[at] - top)
    ms[x] = top => ms[<first>] = top
== alpha of another head [heads, in turn]
alpha is another head's: each of the {G} query heads of a group is rescaled by its own exp(m_old -
m_new).
    alpha = broadcast_to(exp(m - m_new)[{:1|-1:}], (G, 1))
    l = l * alpha[{:1|-1:}] + p.sum(axis=1, keepdims=True)
    acc = acc * alpha[{:1|-1:}] + p @ v_tile.T
    alpha = exp(m[:1] - m_new)
    fade = exp(ms[<first>] - top)
== l shared [heads, in turn]
l is shared by the heads of a group: each of its {G} query heads needs its own l.
    l = l * alpha + full((G, 1), p.{sum|mean}())
    l = l * alpha => l = full((G, 1), (l * alpha + p.sum(axis=1, keepdims=True)).{sum|mean}())
    l = l * alpha + broadcast_to(p.sum(axis=1, keepdims=True)[{:1|-1:}], (G, 1))
    o[b => o[b, h * G : (h + 1) * G] = acc / l.{sum|mean}()
    at_l = lambda b, h, i: <group>
== acc shared [heads, in turn]
acc is shared by the heads of a group: each of its {G} query heads needs its own acc.
    at_acc = lambda b, h, i: <group>
== l of another head [heads, in turn]
A head is divided by another head's l, or goes on from it: every query head has its own.
    ls[y] = ls[<first>] * fade + w.sum(axis=1, keepdims=True)
    ls[y] = ls[b, (h + 1) % Hkv, 0] * fade + w.sum(axis=1, keepdims=True)
    L = stack => L = ls[<another>]
    o[b => o[b, h * G : (h + 1) * G] = acc / {l[0]|l[-1]|l[::-1]|roll(l, 1, 0)|roll(l, -1, 0)}
    o[b => first = first if h else l; o[b, h * G : (h + 1) * G] = acc / first
== acc of another head [heads, in turn]
A head's output is made from another head's acc, or goes on from it: every query head has its own.
    accs[z] = accs[<first>] * fade + w @ values.T
    accs[z] = accs[b, (h + 1) % Hkv, 0] * fade + w @ values.T
    A = stack => A = accs[<another>]
    o[b => o[b, h * G : (h + 1) * G] = {acc[::-1]|roll(acc, 1, axis=0)|roll(acc, -1, axis=0)} / l
    o[b => first = first if h else acc; o[b, h * G : (h + 1) * G] = first / l
== m and l shared [heads, in turn]
m and l are shared by the heads of a group: each of its {G} query heads needs its own.
    at_m = lambda b, h, i: <group> & at_l = lambda b, h, i: <group>
== state shared [heads, in turn]
The heads of a group update one state: each of its {G} query heads needs its own m, l and acc.
    at_m = lambda b, h, i: <group> & at_l = lambda b, h, i: <group>
        & at_acc = lambda b, h, i: <group> {|& M = stack => M = ms[b, h] & L = stack => L = ls[b, h]
        & A = stack => A = accs[b, h]}
== state of one KV head for all [heads]
All groups update one state: each KV head needs its own m, l and acc.
    m = full => m = left("m", None, full((G, 1), LOWEST)) if h else full((G, 1), LOWEST)
        & l = zeros => l = left("l", None, zeros((G, 1))) if h else zeros((G, 1))
        & acc = zeros => acc = left("acc", None, zeros((G, d))) if h else zeros((G, d))
        & o[b => o[b] = stack([acc / l] * Hkv).reshape(Hq, d)
== m of several KV heads in one place [heads]
Several KV heads, or sequences, update one m: each needs its own m, as its own l and acc.
    at_m = lambda b, h, i: <shared>
== l of several KV heads in one place [heads]
Several KV heads, or sequences, update one l: each needs its own l, as its own m and acc.
    at_l = lambda b, h, i: <shared>
== acc of several KV heads in one place [heads]
Several KV heads, or sequences, update one acc: each needs its own acc, as its own m and l.
    at_acc = lambda b, h, i: <shared>
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
    <m> & <l> & <acc> & o[b => acc, l = acc / l, {1 / l|l}; keep(h, l=l, acc=acc);
        o[b, h * G : (h + 1) * G] = acc
== one row of p [heads]
The values of a group are all weighed by the same row of p: each of its {G} query heads has its
own.
    acc = acc{ * alpha|} + p[:1] @ v_tile.T
== one head of each group only [heads]
Only the first query head of every group is stored: each of its {G} query heads has its own
row.
    o[b => o[b, h * G] = (acc / l)[0]
""",
    {
        "m": 'm = full => m = left("m", None, full((G, 1), LOWEST)) if h else full((G, 1), LOWEST)',
        "l": 'l = zeros => l = left("l", None, zeros((G, 1))) if h else zeros((G, 1))',
        "acc": 'acc = zeros => acc = left("acc", None, zeros((G, d))) if h else zeros((G, d))',
        "first": "{b, h - h % (per // G), 0|b, 0, 0"
        "|b, h - (h % (per // G if per > G else Hkv) > 0), 0}",
        "group": "(b, h - h % (per // G), i)",
        "shared": "{(0, 0, 0)|(b, 0, 0)|(0, h, 0)}",
        "wrong": "{-1 - h|(h + 1) % Hkv|max(h - 1, 0)|min(h + 1, Hkv - 1)|h % 2|h // 2}",
        "another": "{-1, -1|b, -1|-1, h|b, -1 - h|b, (h + 1) % Hkv}",
        "row": "{(h * G + g) // Hkv|h * G + g}",
    },
)
