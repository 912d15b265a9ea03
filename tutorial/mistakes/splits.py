"""The known mistakes with splits (stage 6), in the form of `reference.mistake`."""

from __future__ import annotations

from ..reference.mistake import read

MERGE = "m = max(m_a, m_b); l = l_a exp(m_a - m) + l_b exp(m_b - m); acc likewise."

SPLIT = read(
    f"""
== every split has the first one's tiles
Every split visits the same tiles: split s begins at its own tile, by nl.program_id(0).
    for s, tiles in => for s, tiles in enumerate([splits[0]] * S):
== splits averaged
The splits' outputs are averaged: a split with larger scores must weigh more. Merge the states:
{MERGE}
    o[0] = where(L == 0, 0, A / L).mean(axis=0)
    o[0] = where(L == 0, 0, A / L).sum(axis=0) / (L > 0).sum(axis=0)
== splits averaged, empty ones too
The splits' outputs are averaged, those of empty splits with them, which are 0 / 0: merge the
states instead: {MERGE}
    o[0] = (A / L).mean(axis=0)
== splits summed
The splits' outputs are added: merge the states and divide once, at the end: {MERGE}
    o[0] = where(L == 0, 0, A / L).sum(axis=0)
== merge without the max
The splits are merged by l alone, without their m: each split's l and acc are relative to its own
max, and must be brought to a common one. {MERGE}
    o[0] = A.sum(axis=0) / L.sum(axis=0)
    weight = where(L > 0, 1, 0)
== merge by the max alone
The splits' outputs are weighted by exp(m_s - m) alone, without their l: a split with many good
keys must weigh more than one with a single such key. {MERGE}
    o[0] = where(L == 0, 0, A / L * weight).sum(axis=0) / weight.sum(axis=0)
== normalised states merged
The splits leave acc / l, and it is merged as if it were acc: leave acc undivided and divide once,
after the merge (or weigh each split's output with its l).
    acc = (A => acc = where(L == 0, 0, A / L * weight).sum(axis=0)
    acc = (A => acc = (A / L * weight).sum(axis=0)
== unnormalised states merged
The splits leave acc undivided, and it is merged as if it were acc / l: a split's acc holds its l
already, so weigh it with exp(m_s - m) alone.
    acc = (A => acc = (A * L * weight).sum(axis=0)
== empty split divided by 0 [division]
A split without keys gives 0 / 0 = NaN, and NaN times a weight of 0 is NaN: leave acc undivided;
then an empty split is (lowest, 0, 0), and changes nothing.
    acc = (A => acc = (A / L * L * weight).sum(axis=0)
== l not rescaled in the merge
acc is rescaled in the merge, l is not: {MERGE}
    l = (L => l = L.sum(axis=0)
    l = l_a + l_b
== acc not rescaled in the merge
l is rescaled in the merge, acc is not: {MERGE}
    acc = (A => acc = A.sum(axis=0)
    acc = acc_a + acc_b
== merge factor inverted
The factors of the merge are inverted: they are exp(m_s - m), never above 1.
    weight = exp(m - M)
    weight = where(L > 0, exp(m - M), 0)
    a = exp(m - m_a) & b_ = exp(m - m_b)
    o[0] => lse = where(L > 0, M + log(L), LOWEST); w = exp(lse.max(axis=0) - lse); o[0] = (where(L
        > 0, A / L, 0) * w).sum(axis=0) / w.sum(axis=0)
== factor of one split for all
All splits are weighed by one split's factor, in acc, in l or in both: split s has its own, exp(m_s
- m).
    acc = (A => acc = (A * weight[{{0|-1}}]).sum(axis=0)
    l = (L => l = (L * weight[{{0|-1}}]).sum(axis=0)
    acc = (A => acc = (A * weight[{{0|-1}}]).sum(axis=0) & l = (L => l = (L *
        weight[{{0|-1}}]).sum(axis=0)
== weights summed in place of l in the merge
acc is divided by the sum of the factors exp(m_s - m): l is the sum of every split's l times its
factor.
    l = (L => l = weight.sum(axis=0)
== one merge factor inverted
A factor of the merge is inverted: they are exp(m_a - m) and exp(m_b - m), never above 1.
    a = exp(m - m_a)
    b_ = exp(m - m_b)
    a = exp(m - m_a) if s else ones((Hq, 1))
== m and l exchanged between split and merge
m and l are mixed up between the split and the merge: what is stored as m must be loaded as m, and l
as l.
    M[s => M[s, h * G : (h + 1) * G] = l {{|& L[s => L[s, h * G : (h + 1) * G] = m}}
    L[s => L[s, h * G : (h + 1) * G] = m
== divided in the merge loop
acc is divided by l in every step of the merge: divide once, after the last split.
    acc = acc_a => acc = (acc_a * a + acc_b * b_) / l {{|& o[0] => o[0] = acc}}
== acc not accumulated in the merge
The merged acc is the last split's alone: it must be acc_a exp(m_a - m) + acc_b exp(m_b - m).
    acc = acc_a => acc = acc_b * b_
    acc = (A => acc = (A * weight)[-1]
== l not accumulated in the merge
The merged l is the last split's alone: it must be l_a exp(m_a - m) + l_b exp(m_b - m).
    l = l_a => l = l_b * b_
    l = (L => l = (L * weight)[-1]
== a split missing in the merged acc
A split is left out of the merged acc, but not of l: both go over all {{S}} splits.
    acc = (A => acc = (A * weight)[{{: max(S - 1, 1)|min(1, S - 1) :}}].sum(axis=0)
== a split missing in the merged l
A split is left out of the merged l, but not of acc: both go over all {{S}} splits.
    l = (L => l = (L * weight)[{{: max(S - 1, 1)|min(1, S - 1) :}}].sum(axis=0)
== state of another split
The merge reads a neighbour's state, or m, l or acc of it: in turn s all three must be those of
split s, or one split is counted twice and another one never.
    m_b, l_b => m_b, l_b, acc_b = M[max(s - 1, 0)], L[max(s - 1, 0)], A[max(s - 1, 0)]
    m_b, l_b => m_b, l_b, acc_b = M[min(s + 1, S - 1)], L[min(s + 1, S - 1)], A[min(s + 1, S - 1)]
    m_b, l_b => m_b, l_b, acc_b = M[s], L[s], A[{{max(s - 1, 0)|min(s + 1, S - 1)}}]
    m_b, l_b => m_b, l_b, acc_b = M[s], L[{{max(s - 1, 0)|min(s + 1, S - 1)}}], A[s]
    m_b, l_b => m_b, l_b, acc_b = M[{{max(s - 1, 0)|min(s + 1, S - 1)}}], L[s], A[s]
    acc = (A => acc = (roll(A, {{1|-1}}, axis=0) * weight).sum(axis=0)
    l = (L => l = (roll(L, {{1|-1}}, axis=0) * weight).sum(axis=0)
    return M[lo => return M[max(lo - 1, 0)], L[max(lo - 1, 0)], A[max(lo - 1, 0)]
== old state not rescaled in the merge
In the merge the new split's state is rescaled, the old one is not, or by exp(0), if m is
overwritten before its factor is formed: both need their factor. {MERGE}
    a = ones((Hq, 1))
== new state not rescaled in the merge
In the merge the old state is rescaled, the new split's is not: both need their factor. {MERGE}
    b_ = ones((Hq, 1))
== old l not rescaled in the merge
In the merge the old state's l is not rescaled, though its acc is: both sums of both states need
their factor. {MERGE}
    l = l_a * a => l = l_a + l_b * b_
== old acc not rescaled in the merge
In the merge the old state's acc is not rescaled, though its l is: both sums of both states need
their factor. {MERGE}
    acc = acc_a * a => acc = acc_a + acc_b * b_
== new l not rescaled in the merge
In the merge the new split's l is not rescaled, though its acc is: both sums of both states need
their factor. {MERGE}
    l = l_a * a => l = l_a * a + l_b
== new acc not rescaled in the merge
In the merge the new split's acc is not rescaled, though its l is: both sums of both states need
their factor. {MERGE}
    acc = acc_a * a => acc = acc_a * a + acc_b
== one factor for both
In the merge both states are rescaled by the same factor: each has its own, exp(m_a - m) and
exp(m_b - m).
    b_ = a
    acc = acc_a * {{a + acc_b * a|b_ + acc_b * b_}}
    l = l_a * {{a + l_b * a|b_ + l_b * b_}}
    a = exp(m_b - m)
    b_ = a if s else b_
    b_ = exp(m_a - m) if s else exp(m_b - m)
== new state not added in the merge
What the other splits hold is never added to the merged l, or to the merged acc: it must be l_a
exp(m_a - m) + l_b exp(m_b - m), and acc likewise.
    l = l_a * a => l = l_a {{|* a}}
    acc = acc_a * a => acc = acc_a {{|* a}}
    l = (L => l = (L * weight)[0]
    acc = (A => acc = (A * weight)[0]
== factors exchanged in the merge
The factors of the merge are exchanged: the old state's is exp(m_a - m), and the new split's
exp(m_b - m). {MERGE}
    a = exp(m_b - m) & b_ = exp(m_a - m)
    {{acc = acc_a * b_ + acc_b|l = l_a * b_ + l_b}} * a
    a = exp(m_b - m) if s else ones((Hq, 1)) & b_ = exp(m_a - m) if s else ones((Hq, 1))
== m not raised in the merge
m is not raised in the merge, or not for every split: it must be the largest of the splits' m, or
exp(m_s - m) overflows.
    m = M.max => m = {{M[0]|M[-1]|M.mean(axis=0)|M.min(axis=0)}}
    m = M.max => m = M[{{: max(S - 1, 1)|min(1, S - 1) :}}].max(axis=0)
    m = maximum(m_a => m = {{(m_a + m_b) / 2|m_a if s else m_b|m_b|m_a|minimum(m_a, m_b) if s else
        m_b}}
== m of the merge not kept
The merged m is not kept for the next split: end every step with m = m_new, or the old state's
factor is wrong.
    m_a, l_a => m_a, l_a, acc_a = {{full((Hq, 1), LOWEST)|M[0]|M[-1]|m if s < 2 else M[s - 1]}},
        l, acc
    return m, l => return {{m_a|m_b}}, l, acc
    pairs += => pairs += [({{m_a|m_b}}, l, acc)]
== no max in the merge
The states are merged by exp(m_s) instead of exp(m_s - m): it overflows, or underflows for all
splits.
    weight = exp(M)
== m missing in the merged weight
The splits' outputs are weighed by log l alone: their weight is exp(m_s + log l_s - max).
    weight = where(L > 0, 1, 0)
        & o[0] => o[0] = where(L == 0, 0, A / L * L).sum(axis=0) / L.sum(axis=0)
== weights not summed in the merge
The splits' outputs are weighed and added, and divided by the number of splits, not by the sum of
their weights.
    o[0] = where(L == 0, 0, A / L * L * exp(M - (M + log(L)).max(axis=0))).sum(axis=0) / S
== weighed outputs not divided in the merge
The splits' outputs are weighed and added, and never divided by the sum of their weights: that
division is missing, or l is the largest of the weights.
    o[0] = where(L == 0, 0, A / L * L * exp(M - (M + log(L)).max(axis=0))).sum(axis=0)
== outputs not weighed in the merge
The splits' outputs are added as they are, and divided by the sum of the weights: each must be
multiplied by its own.
    o[0] = where(L == 0, 0, A / L).sum(axis=0) / where(L > 0, L * exp(M - (M +
        log(L)).max(axis=0)), 0).sum(axis=0)
== one split wins
Only the split with the largest max is kept: the others count too, with their weight.
    o[0] = (A / L)[M[:, :, 0].argmax(axis=0), arange(Hq)]
== last split only
The output is the last split's: all splits must be merged.
    o[0] = (A / L)[-1]
== first split only
The output is the first split's: all splits must be merged.
    o[0] = (A / L)[0]
== never divided after the merge [no division]
The merged acc is not divided by the merged l: o = acc / l.
    o[0] = acc
    o[0] = where(L == 0, 0, A / L * weight * L).sum(axis=0)
== multiplied by the number of splits
The output is {{S}} times what it must be, and {{S}} is the number of splits: the merge sums acc
and averages l, or counts the splits once too often. Sum both alike; o = acc / l.
    o[0] = acc / l * S
== divided by the number of splits
The output is 1/{{S}} of what it must be, and {{S}} is the number of splits: the merge averages
acc and sums l, or averages what is merged already. Sum both alike; o = acc / l.
    o[0] = acc / l / S
== rest of the tiles dropped
With n // S tiles per split the rest is dropped: round up; the last splits have fewer tiles or none.
    for s, tiles in => for s, tiles in enumerate([whole[s * (len(whole) // S) {{|+ min(s, len(whole)
        % S)}} :][: len(whole) // S] for s in range(S)]):
    for s, tiles in => for s, tiles in enumerate([whole[s * max(len(whole) // S, 1) : (s + 1) *
        max(len(whole) // S, 1)] for s in range(S)]):
== tiles visited twice
Some tiles are counted twice: another split has them already.
    for s, tiles in => for s, tiles in enumerate([whole[{{s|s * up}} :][:{{ up|}}] for s in
        range(S)]):
    for s, tiles in => for s, tiles in enumerate([whole[s * (len(whole) // S) :][: len(whole) // S +
        (s < len(whole) % S)] for s in range(S)]):
    for s, tiles in => for s, tiles in enumerate([whole[min(s * up, len(whole) - up) :][:up] for s
        in range(S)]):
    for s, tiles in => for s, tiles in enumerate([whole[max(s * up - {{s|1}}, 0) :][:up] for s in
        range(S)]):
    for s, tiles in => for s, tiles in enumerate([whole[max(s * len(whole) // S - 1, 0) : (s + 1) *
        len(whole) // S] for s in range(S)]):
== tiles dealt out with a wrong stride
The tiles are dealt out with another stride than the number of splits: split s has the tiles s, s +
S, s + 2 S and so on, S = {{S}}.
    for s, tiles in => for s, tiles in enumerate([whole[s::{{2|4}}] for s in range(S)]):
== last split skipped
The last split is not merged: all {{S}} splits must be.
    for s in range(S) => for s in range(max(S - 1, {{0|1}})):
== first split skipped
The first split is not merged: all {{S}} splits must be.
    for s in range(S) => for s in range({{1|min(1, S - 1)}}, S):
== a split merged twice
A split is merged twice: each of the {{S}} splits once.
    for s in range(S) => for s in [*range(S), {{0|S - 1}}]:
== one split merged again and again
The same split is merged {{S}} times: in turn s the state of split s must be read.
    m_b, l_b => m_b, l_b, acc_b = M[{{0|-1}}], L[{{0|-1}}], A[{{0|-1}}]
== m of one split for all
All splits are merged with one split's m: each split's l and acc are relative to its own.
    m_b, l_b => m_b, l_b, acc_b = M[{{0|-1}}], L[s], A[s]
== l or acc of one split for all
l or acc is read from the same split in every turn of the merge: in turn s all three, m, l and acc,
must be those of split s.
    m_b, l_b => m_b, l_b, acc_b = M[s], L[{{0|-1}}], A[s]
    m_b, l_b => m_b, l_b, acc_b = M[s], L[s], A[{{0|-1}}]
== states stored in one place
All splits leave their states in the same place: split s belongs at index s.
    M[s => M[0, h * G : (h + 1) * G] = m & L[s => L[0, h * G : (h + 1) * G] = l
        & A[s => A[0, h * G : (h + 1) * G] = acc
== acc divided in every split
The splits leave acc / l, and l with it, and the merge divides once more: leave acc undivided.
    A[s => A[s, h * G : (h + 1) * G] = acc / maximum(l, 1e-30)
== state not cleared between splits
The state is carried from one split to the next: every split must start from (lowest, 0, 0), or
keys count several times.
    <m> & <l> & <acc>
== l not cleared between splits
l is carried from one split to the next: it must start at 0 in every split.
    <m> & <l>
== acc not cleared between splits
acc is carried from one split to the next: it must start at 0 in every split.
    <m> & <acc>
== empty split's m is too high
A split without keys leaves an m above the real ones, so that every weight underflows in the
merge: its m is the lowest number (nl.fp32.min).
    M[s => M[s, h * G : (h + 1) * G] = m if len(tiles) else {{0|1|-1|-10|-100|-1000}}
== m of the merge starts too high
m starts too high where states are merged, or already in every split: it lies above all scores
here, so that every weight underflows. Start it at -inf (nl.fp32.min).
    m, l, acc = => m, l, acc = full((Hq, 1), {{0.0|-100.0|-1000.0|-20000.0}}), zeros((Hq, 1)),
        zeros((Hq, d))
""",
    {
        "m": 'm = full((G => m = left("m", h, full((G, 1), LOWEST))',
        "l": 'l = zeros((G => l = left("l", h, zeros((G, 1)))',
        "acc": 'acc = zeros((G => acc = left("acc", h, zeros((G, d)))',
    },
)
