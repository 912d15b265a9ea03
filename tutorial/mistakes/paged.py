"""The known mistakes of stage 8: the wrong block, the wrong place in it, too many keys, in the form
of `reference.mistake`."""

from __future__ import annotations

from ..reference.mistake import read

PAGED = read(
    """
== last block not masked
The last block is not masked: a sequence ends inside it, and its keys from lengths[b] on are
padding, whatever the block holds there. Their weights must be 0.
    padding = keys >= -(-lengths[b] // block) * block {|& v_tile = where => pass}
    padding = keys >= len(block_table[b]) * block {|& entry = where(keys // block * block <
        lengths[b], block_table[b][keys // block], -1)}
    qk = where => qk = where(keys >= -(-lengths[b] // block) * block, LOWEST, where(padding, 0,
        qk)) {|& v_tile = where => pass}
    qk = where => qk = where(padding, 0, qk)
== padding times 0 [shown]
The padding of the last block has the weight 0, and is multiplied all the same: 0 * NaN is NaN.
Clear the keys past the length in V (and in K, before anything is computed with them).
    v_tile = where => v_tile = where(keys >= -(-lengths[b] // block) * block, 0, v_tile)
    qk = where => qk = qk + where(padding, -1e30, 0)
        & v_tile = where => v_tile = where(keys >= -(-lengths[b] // block) * block, 0, v_tile)
    qk = where => qk = where(keys >= -(-lengths[b] // block) * block, LOWEST, qk + where(padding,
        -1e30, 0))
== last block dropped
The last block is dropped where a sequence ends inside it: the number of blocks is the length over
the block's size, rounded up.
    padding = keys >= lengths[b] // block * block
== length off by one
The length is off by one: the keys of sequence b are 0 .. lengths[b] - 1.
    padding = keys > lengths[b] {|& v_tile = where => v_tile = where(keys >= lengths[b], 0, v_tile)}
    padding = keys > lengths[b] & entry = where(keys // block * block < lengths[b],
        block_table[b][keys // block], -1)
    padding = keys + 1 >= lengths[b]
    qk = where => qk = where(keys > lengths[b], LOWEST, where(padding, 0, qk))
== padding raised
The padding's scores are raised and not lowered: what lies past the length must get the lowest
score.
    qk = where => qk = where(padding, 1e30, qk)
== position restarts in every chunk
The positions start from 0 in every chunk of blocks: entry j of the table holds the keys from j *
block on.
    padding = keys % (128 * block) >= lengths[b] {|& entry = where(keys // block * block <
        lengths[b], block_table[b][keys // block], -1)}
    qk = where => qk = where(keys % {(128 * block)|len(tiles[0])} >= lengths[b], LOWEST,
        where(padding, 0, qk))
== position restarts in every step
The positions start from 0 in every step inside a block: position s of entry j is key j * block +
s.
    padding = keys // block * block + keys % block % <S> >= lengths[b]
== mask of one position of every step
The mask of one position of a step is used for all positions of the step: each key is compared with
the length by its own position.
    qk = where => qk = where(keys - keys % <S>{| + <S> - 1} >= lengths[b], LOWEST, where(padding,
        0, qk))
== position counts blocks
The first key of entry j is given position j: entry j of the table holds the keys from j * block on.
    padding = keys // block + keys % block >= lengths[b] <L>
    padding = keys - keys.min() + keys.min() // block >= lengths[b] <L>
== position counts steps
The first key of entry j is given position j times the positions of a step: entry j of the table
holds the keys from j * block on.
    padding = keys // block * <S> + keys % block >= lengths[b] <L>
== used entries exchanged [other blocks]
The entries that are used and those that are not are exchanged: entry j is used where j * block is
below the length.
    entry = where(keys // block * block < lengths[b], -1, <T>) {|& v_tile = where => pass}
    entry = where(keys < lengths[b], -1, <T>) {|& v_tile = where => pass}
== block of another sequence
The blocks are another sequence's: sequence b reads through row b of block_table.
    entry = block_table[{0|max(b - 1, 0)|b - 1|(b + 1) % B|-1|-1 - b|min(h, B - 1)}][keys // block]
    @_tile = pick(@_blocks, block_table[{0|b - 1|(b + 1) % B}][keys // block], h, at).T
== stale block table
The blocks of another place in the table are read: block j of sequence b is block block_table[b, j].
Either the entry's place is wrong, or entries or tiles that were loaded for another step are used
again.
    entry = block_table[b][{<J>}]
    @_tile = pick(@_blocks, block_table[b][{<J>}], h, at).T
== no block table
The pool's blocks are read in their own order: block j of a sequence is block block_table[b, j] of
the pool.
    entry = keys // block
== entry off by one
The entries of the table are off by one: block j of a sequence is block block_table[b, j] of the
pool.
    entry = block_table[b][keys // block] {+|-} 1
    @_tile = pick(@_blocks, entry {+|-} 1, h, at).T
== entry taken as a key
An entry of the table is taken as the number of a key: it is the number of a block, whose keys are
the rows entry * block to entry * block + block - 1.
    at = => entry, at = (entry + keys % block) // block, (entry + keys % block) % block
    @_tile = pick(@_blocks, (entry + at) // block, h, (entry + at) % block).T
    k_tile = flat(k_blocks, <E>).T & v_tile = flat(v_blocks, <E>).T
== row of another head
The rows are another head's: in block i, position s of KV head h is row (i * Hkv + h) * block + s
of the pool.
    k_tile = flat(k_blocks, <H>).T & v_tile = flat(v_blocks, <H>).T
== only the first chunk of entries
Only the first chunk of the table's entries is read: a longer row needs another chunk of blocks.
    for t, keys => for t, keys in enumerate([x for x in tiles if x[0] < {128 * block|(tiles[0].max()
        // block + 1) * block}]):
== last chunk begins too early
The last chunk of a row of the table begins before its place: chunk c begins at entry 128 c, also
where it has fewer entries than 128.
    for t, keys => for t, keys in enumerate([x - c * (128 - min(128, e - 128 * c)) * block for e in
        [tiles[-1].max() // block + 1] for x in tiles for c in [x.min() // block // 128]]):
== chunks of blocks overlap [long]
A chunk of blocks begins before the one before it ends, so that keys count twice: the loop over the
entries goes on by as many as a chunk has.
    for t, keys => for t, keys in enumerate([i + arange(min(128 * block, n - i)) for i in range(0,
        n, {64|32} * block)]):
== last blocks skipped [long]
The last blocks of a row of the table are skipped, where they do not fill a chunk of blocks or a
tile: the number of chunks is rounded up, and the last one may be smaller.
    for t, keys => for t, keys in enumerate([x for x in tiles if len(x) == max(map(len, tiles))]):
    for t, keys => for t, keys in enumerate([x for x in tiles if x[-1] < n // len(x) * len(x)]):
== only the first positions of a block
Only the first positions of every block count: the loop over a block must visit all of them.
    for t, keys => for t, keys in enumerate([y for x in tiles for y in [x[x % block < {block -
        1|max(block - 1, 1)}]] if len(y)]):
    for t, keys => for t, keys in enumerate([x for x in tiles if x[0] % block < {16|max(block - <S>,
        1)} {and x[0] % block == tiles[0][0] % block|}]):
== one position of every step in the weighted sum
Only one position of every step is in the weighted sum: l counts the others, and acc must too.
    acc = acc * alpha + <p> @ v_tile.T
== weights of one position
The weights of one position of every step weigh the values of all its positions: each position's
values need its own weights.
    acc = acc * alpha + repeat(p.reshape(G, -1, <S>)[:, :, {:1|-1:}], <S>, 2).reshape(G, -1) @
        v_tile.T
== entries in 16 bits
The entries of the table pass through 16 bits: in bf16 257 becomes 256, and int16 ends at 32767.
Keep them in int32, or in float32, which has all integers up to 2**24.
    entry = {bf16(<T>)|<T>.astype("int16")|minimum(<T>, 32767)}.astype(int)
== one position of every step in the sum
Only one position of every step is in the sum of the weights: acc counts the others, and l must too.
    l = l * alpha + <p>.sum(axis=1, keepdims=True)
== max of one position of every step [recorded]
The max is taken of one position of every step only: m must be the largest of all scores, or exp(qk
- m) overflows.
    m_tile = where(keys % <S> == {0|<S> - 1}, qk, LOWEST).max(axis=1, keepdims=True)
== V a key off
V is a key off: the values that p weighs must be those of p's own keys.
    acc = acc * alpha + p @ roll(v_tile.reshape(d, -1, <S>), {1|-1}, axis=2).reshape(d, -1).T
== mask of K and V inverted
The mask that clears K and V is the wrong way round: the keys that count are cleared, and those of
the padding stay. Clear what lies past the length.
    qk = where => qk = where(padding, LOWEST, zeros(qk.shape))
        & v_tile = where => v_tile = where(padding, v_tile, 0)
== K and V exchanged
K and V are exchanged: the scores are q^T k, and p weighs V.
    k_tile = pick(v_blocks, entry, h, at).T & v_tile = pick(k_blocks, entry, h, at).T
== K in place of V
K is read where V belongs: p weighs the values.
    v_tile = pick(k_blocks, entry, h, at).T
== V in place of K
V is read where K belongs: the scores are q^T k.
    k_tile = pick(v_blocks, entry, h, at).T
== one KV head for all [heads]
All query heads read the same KV head: query head h reads KV head h // G, with
G = Hq // Hkv = {G}.
    k_tile = pick(k_blocks, entry, 0, at).T & v_tile = pick(v_blocks, entry, 0, at).T
== K transposed before it is cleared
K's padding is not cleared before its transpose, which on NeuronCore-v2 multiplies by 0 and 1: 0 *
NaN is NaN, and no score of the tile is a number. Clear the keys past the length in K first.
    raw = => raw = q_tile @ (k_tile + (nan if spreads and not isfinite(k_tile).all() else 0))
== a max for each lane
Every lane takes the max of its own keys only: all weights must be relative to the same m_new, the
max over all lanes.
    m_tile => m_old = m_lane if t else full((G, 128), LOWEST); m_lane = maximum(m_old,
        stack([where(<at> == i, qk, LOWEST).max(axis=1) for i in arange(128)], axis=1)); a_lane =
        exp(m_old - m_lane); m_tile = qk.max(axis=1, keepdims=True)
        & p = exp(qk - m_new) => p = exp(qk - m_lane[:, <at>]) & l = l * alpha => l_lane =
        (l_lane if t else 0) * a_lane + dealt(p, <at>); l = l_lane.sum(axis=1, keepdims=True)
        & acc = acc * alpha => acc = acc * a_lane[:, :d] + p @ v_tile.T
== l of one lane only
The sum of one lane divides: l is one sum per lane here, and all of them must be added up.
    l = l * alpha => lane = (lane * alpha if t else 0) + dealt(p, <at>); l = l * alpha +
        p.sum(axis=1, keepdims=True) & o[b => o[b, h * G : (h + 1) * G] = acc * (1 / lane[:,
        {:1|:d}])
        & keep( => keep(h, m=m, l=lane, acc=acc, alpha=alpha, p=p)
== position inside the block
The position inside the block is wrong: key j lies in block j // block at position j % block, in K
and in V alike.
    at = <A>
    @_tile = pick(@_blocks, entry, h, <A>).T
""",
    {
        "J": "maximum(keys // block - 1, 0)|(keys // block - 1) % used|0 * keys"
        "|minimum(keys // block + 1, used - 1)|(keys // block + 1) % used|0 * keys + used - 1"
        "|used - 1 - minimum(keys // block, used - 1)|keys // block % 128"
        "|keys // block - keys.min() // block|0 * keys + keys.min() // block"
        "|minimum(keys // block + 1, len(block_table[b]) - 1)"
        "|where(keys // block > 127, keys // block - 128, keys // block)",
        "L": "{|& entry = where(keys // block < lengths[b], <T>, -1)"
        "|& entry = where(keys // block * block < lengths[b], <T>, -1)}",
        "T": "block_table[b][keys // block]",
        "E": "{entry + at|entry + h * block + at|entry * Hkv + h + at}",
        "H": "{entry * block + at|(entry * block + at) * Hkv + h|entry * block + h * block + at"
        "|entry * Hkv * block + at + h|(h * len(k_blocks) + entry) * block + at}",
        "A": "{0 * keys|0 * keys + block - 1|(keys + 1) % block|(keys - 1) % block"
        "|minimum(keys % block + 1, block - 1)|maximum(keys % block - 1, 0)"
        "|block - 1 - keys % block|keys % block % <S>"
        "|keys % block - keys % <S>|keys - 2 * (keys % <S>) + <S> - 1 - keys // block * block}",
        "at": "keys // block % 128",
        "p": "where(keys % <S> == {0|<S> - 1}, p, 0)",
        "S": "len(set(tiles[0] % block))",
    },
)
