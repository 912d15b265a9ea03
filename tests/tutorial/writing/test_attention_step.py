"""The check of an attention step: right steps in other styles pass, each mistake is caught with its
own sentence."""

from __future__ import annotations

import numpy as np
import pytest

from tests.asking import one_in
from tests.tutorial.kernels import changed, load, solution
from tutorial import check, get
from tutorial.writing import mistakes as known
from tutorial.writing import passages, stepcheck

K_COLUMN = "cache.k[layer, :, :d, position] = rotate(k, position)  # (Hkv, d)\n"
MARK = "    cache.k[layer, :, d, position] = 0.0\n"
V_COLUMN = "    cache.v[layer, :, :d, position] = v\n"
LAST = "    return o[:, :d].reshape(-1)"
CALL = (
    "kernel(queries, cache.k[layer, :, :, :keys], cache.v[layer, :, :, :keys], "
    "softmax_scale=1.0 / math.sqrt(d))"
)
QUERIES = "queries[:d] = rotate(q, position).T"

# name: (changes to the solution, cause, words of the sentence)
WRONG = {
    "the last tile only": (
        [("[layer, :, :, :keys]", "[layer, :, :, keys - TILE : keys]")],
        "one tile only",
        "The kernel is given one tile only",
    ),
    "appended after the kernel": (
        [
            ("    " + K_COLUMN, ""),
            (MARK, ""),
            (V_COLUMN, ""),
            (LAST, "    " + K_COLUMN + MARK + V_COLUMN + LAST),
        ],
        "new key not appended",
        "a token attends to itself too",
    ),
    "never appended": (
        [("    " + K_COLUMN, ""), (MARK, ""), (V_COLUMN, "")],
        "new key not appended",
        "join the cache first",
    ),
    "only the value appended before": (
        [("    " + K_COLUMN, ""), (MARK, ""), (LAST, "    " + K_COLUMN + MARK + LAST)],
        "new key late",
        "its value before",
    ),
    "only the key appended before": (
        [(V_COLUMN, ""), (LAST, V_COLUMN + LAST)],
        "new value late",
        "its key before",
    ),
    "one column too far": (
        [
            (":d, position] =", ":d, position + 1] ="),
            (":, d, position] =", ":, d, position + 1] ="),
        ],
        "cache one position off",
        "one column off",
    ),
    "one column too near": (
        [
            (":d, position] =", ":d, position - 1] ="),
            (":, d, position] =", ":, d, position - 1] ="),
        ],
        "cache one position off",
        "one column off",
    ),
    "only the value one column too far": (
        [("cache.v[layer, :, :d, position]", "cache.v[layer, :, :d, position + 1]")],
        "cache one position off",
        "one column off",
    ),
    "only the padding row in time": (
        [("    " + K_COLUMN, ""), (V_COLUMN, ""), (LAST, "    " + K_COLUMN + V_COLUMN + LAST)],
        "new key not appended",
        "join the cache first",
    ),
    "K and V swapped when cached": (
        [
            ("= rotate(k, position)", "= v"),
            ("position] = v\n", "position] = rotate(k, position)\n"),
        ],
        "k and v swapped",
        "K and V are swapped",
    ),
    "K and V swapped for the kernel": (
        [
            (
                CALL,
                CALL.replace("cache.k", "cache.x")
                .replace("cache.v", "cache.k")
                .replace("cache.x", "cache.v"),
            )
        ],
        "k and v swapped",
        "K and V are swapped",
    ),
    "both rotated one too far": (
        [
            ("rotate(k, position)", "rotate(k, position + 1)"),
            ("rotate(q, position)", "rotate(q, position + 1)"),
        ],
        "positions off by one",
        "Query and key are both rotated to another position",
    ),
    "query rotated to the last position": (
        [("rotate(q, position)", "rotate(q, position - 1)")],
        "query position off by one",
        "The query is rotated to another position",
    ),
    "key rotated one too far": (
        [("rotate(k, position)", "rotate(k, position + 1)")],
        "key position off by one",
        "The key is rotated to another position",
    ),
    "key not rotated": (
        [("rotate(k, position)", "k")],
        "not rotated",
        "Query or key is not rotated",
    ),
    "query not rotated": (
        [("rotate(q, position)", "q")],
        "not rotated",
        "Query or key is not rotated",
    ),
    "value rotated": (
        [("position] = v", "position] = rotate(v, position)")],
        "value rotated",
        "The value is rotated",
    ),
    "cache of the first layer": (
        [("cache.k[layer", "cache.k[0"), ("cache.v[layer", "cache.v[0")],
        "cache of another layer",
        "every layer has its own",
    ),
    "reads the layer before": (
        [(CALL, CALL.replace("[layer,", "[layer - 1,"))],
        "cache of another layer",
        "every layer has its own",
    ),
    "writes and reads the layer before": (
        [("cache.k[layer", "cache.k[layer - 1"), ("cache.v[layer", "cache.v[layer - 1")],
        "cache of another layer",
        "every layer has its own",
    ),
    "scale in the query too": (
        [(QUERIES, QUERIES + " / math.sqrt(d)")],
        "scale applied twice",
        "The scale is applied twice",
    ),
    "scale in the query and left to the kernel": (
        [(QUERIES, QUERIES + " / math.sqrt(d)"), (", softmax_scale=1.0 / math.sqrt(d)", "")],
        "scale applied twice",
        "The scale is applied twice",
    ),
    "scale of 1/d": (
        [("1.0 / math.sqrt(d))", "1.0 / d)")],
        "scale applied twice",
        "The scale is applied twice",
    ),
    "no scale": (
        [("softmax_scale=1.0 / math.sqrt(d)", "softmax_scale=1.0")],
        "scale missing",
        "The scale is missing",
    ),
    "scale left to the kernel": (
        [(", softmax_scale=1.0 / math.sqrt(d)", "")],
        "scale of the padding row",
        "d + 1 dimensions",
    ),
    "queries reshaped": (
        [(QUERIES, "queries[:d] = rotate(q, position).reshape(d, n_q_heads)")],
        "query heads mixed",
        "q.T, not a reshape",
    ),
    "queries in reverse": (
        [(QUERIES, "queries[:d] = rotate(q, position)[::-1].T")],
        "query heads mixed",
        "in order",
    ),
    "KV head h % Hkv": (
        [
            (
                QUERIES,
                "order = [h for g in range(len(k)) for h in range(g, n_q_heads, len(k))]\n"
                "    queries[:d] = rotate(q, position)[order].T",
            ),
            (LAST, "    return o[np.argsort(order), :d].reshape(-1)"),
        ],
        "group taken with a stride",
        "h // G",
    ),
    "key heads reshaped": (
        [
            ("rotate(k, position)", "rotate(k, position).reshape(d, -1).T"),
            ("position] = v", "position] = v.reshape(d, -1).T"),
        ],
        "key heads mixed",
        "row h is KV head h",
    ),
    "output transposed": (
        [(LAST, "    return o[:, :d].T.reshape(-1)")],
        "output heads mixed",
        "head after head",
    ),
    "no 1 in the padding row": (
        [("np.ones((d + 1", "np.zeros((d + 1")],
        "padding weighed",
        "The padding weighs",
    ),
    "no padding row at all": (
        [(CALL, "kernel(queries[:d], cache.k[layer, :, :d, :keys], cache.v[layer, :, :d, :keys])")],
        "padding weighed",
        "The padding weighs",
    ),
    "padding row kept": (
        [(MARK, "")],
        "padding row not cleared",
        "cache.k[layer, :, d, position] = 0",
    ),
    "tiles of the tokens before": (
        [("(position // TILE + 1) * TILE", "max(-(-position // TILE), 1) * TILE")],
        "too few tiles",
        "p // 128 + 1 tiles",
    ),
    "first tile only": (
        [("(position // TILE + 1) * TILE", "TILE")],
        "too few tiles",
        "p // 128 + 1 tiles",
    ),
    "no tile for the first token": (
        [("(position // TILE + 1) * TILE", "-(-position // TILE) * TILE")],
        "refused by the kernel",
        "the kernel refuses what the step gives it: the cache is empty",
    ),
    "no whole tiles": (
        [("(position // TILE + 1) * TILE", "position + 1")],
        "refused by the kernel",
        "n must be a multiple of 128",
    ),
    "the whole cache": (
        [("[layer, :, :, :keys]", "[layer]")],
        "too many tiles",
        "not the whole cache",
    ),
    "a call a head": (
        [
            (
                f"o = {CALL}",
                "o = np.concatenate([kernel(queries[:, [h]], cache.k[layer, h * len(k) // "
                "n_q_heads, None, :, :keys], cache.v[layer, h * len(k) // n_q_heads, None, :, "
                ":keys], 1.0 / math.sqrt(d)) for h in range(n_q_heads)])",
            )
        ],
        "called too often",
        "one call is enough",
    ),
    "returns nothing": ([(LAST, "    o[:, :d].reshape(-1)")], "output", "returns nothing"),
    "returns rows": ([(LAST, "    return o[:, :d]")], "output", "expected (128,)"),
    "returns float64": (
        [(LAST, LAST + ".astype(np.float64)")],
        "output",
        "float64, expected float32",
    ),
    "raises": (
        [(LAST, "    return out")],
        "exception",
        "token 0 ('A'), layer 0: the step raises NameError",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_step_is_caught_with_its_own_sentence(name, tmp_path):
    changes, cause, words = WRONG[name]
    verdict = check(10, load(10, changed(solution(10), *changes), tmp_path))
    assert (verdict.outcome, verdict.exit_code) == ("wrong", 1)
    assert verdict.cause == cause, verdict.sentence
    assert words in verdict.sentence
    assert "\n" not in verdict.sentence


STEPS = list(known.steps())
WAYS = [
    pytest.param(mistake, step, id=f"{mistake.key} {i}")
    for mistake in known.MISTAKES
    for own in [list(enumerate(step for other, step in STEPS if other is mistake))]
    for i, step in one_in(2, dict([own[-1], own[0]]).items())  # the last way; else the first too
]
EARLY = known.STEP.replace("at = position", "at = position - 1")


@pytest.mark.parametrize(("mistake", "wrong_step"), WAYS)
def test_every_known_wrong_step_is_recognised_as_itself(mistake, wrong_step):
    assert check(10, wrong_step).cause == mistake.key


def test_a_step_with_nothing_wrong_is_right():
    assert check(10, known.step()).ok


def test_the_first_divergence_is_told_with_token_layer_and_quantity(tmp_path):
    verdict = check(10, load(10, changed(solution(10), ("1.0 / math.sqrt(d))", "1.0)")), tmp_path))
    assert verdict.sentence.startswith(
        "token 1 ('l'), layer 1: scale * q of head 0, dimension 0, is "
    )
    assert (verdict.details["token"], verdict.details["layer"]) == (1, 1)
    assert verdict.details["got"] == pytest.approx(verdict.details["expected"] * 32**0.5, rel=1e-5)


def test_an_unknown_mistake_is_placed_and_not_guessed_at(tmp_path):
    verdict = check(
        10, load(10, changed(solution(10), ("position] = v", "position] = 2 * v")), tmp_path)
    )
    assert verdict.cause is None
    assert verdict.sentence.startswith(
        "token 0 ('A'), layer 0: V of key 0 as the kernel gets it, head 0, dimension 0, is "
    )
    assert verdict.sentence.endswith("No known mistake gives these values.")


def test_a_step_without_the_kernel_is_told_so(tmp_path):
    text = changed(
        solution(10),
        (
            f"o = {CALL}",
            "p = [np.exp(queries[:, h] @ cache.k[layer, h * "
            "len(k) // n_q_heads, :, :keys] / math.sqrt(d)) "
            "for h in range(n_q_heads)]\n    o = np.array([p[h] @ "
            "cache.v[layer, h * len(k) // n_q_heads, :, :keys].T / "
            "p[h].sum() "
            "for h in range(n_q_heads)], np.float32)",
        ),
    )
    verdict = check(10, load(10, text, tmp_path))
    assert (verdict.cause, verdict.sentence) == (
        "kernel not called",
        "token 0 ('A'), layer 0: the step never calls the kernel.",
    )


@pytest.mark.parametrize("given", ["queries, none, none", "queries, keys_, none"])
def test_a_step_that_computes_by_itself_and_gives_the_kernel_something_else_is_told_so(
    tmp_path, given
):
    text = changed(
        solution(10),
        (
            f"o = {CALL}",
            "keys_ = cache.k[layer, :, :, :keys]\n"
            "    none, p = np.zeros_like(keys_[:, :, :TILE]), []\n"
            "    for h in range(n_q_heads):\n"
            "        s = queries[:, h] @ keys_[h * len(k) // n_q_heads] / math.sqrt(d)\n"
            "        p.append(np.exp(s - s.max()))\n"
            "    o = np.array([p[h] @ cache.v[layer, h * len(k) // n_q_heads, :, :keys].T\n"
            "                  / p[h].sum() for h in range(n_q_heads)], np.float32)\n"
            f"    o = o + 0 * kernel({given.replace('none', 'none[:, :, :keys]')})",
        ),
    ).replace("keys_, none[:, :, :keys]", "keys_, 0 * keys_")
    verdict = check(10, load(10, text, tmp_path))
    assert (verdict.outcome, verdict.cause) == ("wrong", "answer not the kernel's")
    assert verdict.sentence.startswith("token ")


def test_a_step_that_errs_on_its_own_text_only_is_wrong(tmp_path):
    text = changed(
        solution(10),
        (
            "    n_q_heads, d = q.shape",
            "    n_q_heads, d = q.shape\n    v = -v if 140 < position < 200 else v",
        ),
    )
    verdict = check(10, load(10, text, tmp_path))
    assert verdict.cause == "another text"
    assert "equal tokens it writes" in verdict.sentence
    assert "The first attention that differs: token 141" in verdict.sentence


RIGHT = {
    "scale in the query, 1 for the kernel": [
        (QUERIES, QUERIES + " / math.sqrt(d)"),
        ("softmax_scale=1.0 / math.sqrt(d)", "softmax_scale=1.0"),
    ],
    "all by keyword": [
        (
            CALL,
            "kernel(q=queries, k=cache.k[layer, ..., :keys], v=cache.v[layer, "
            "..., :keys], softmax_scale=d ** -0.5)",
        )
    ],
    "copies": [
        (
            CALL,
            "kernel(queries.copy(), cache.k[layer, ..., :keys].copy(), cache.v[layer, "
            "..., :keys].copy(), 1 / math.sqrt(d))",
        )
    ],
    "a head at a time": [
        (
            "cache.k[layer, :, :d, position] = rotate(k, position)",
            "for h in range(len(k)):\n        cache.k[layer, h, :d, position] = "
            "rotate(k, position)[h]",
        )
    ],
    "built by concatenate": [
        ("    queries = np.ones((d + 1, n_q_heads), np.float32)\n", ""),
        (
            QUERIES,
            "queries = np.concatenate([rotate(q, position).T, "
            "np.ones((1, n_q_heads), np.float32)])",
        ),
    ],
    "queries in another order, outputs put back": [
        (
            QUERIES,
            "order = np.arange(n_q_heads).reshape(len(k), -1)[:, ::-1].ravel()\n    "
            "queries[:d] = rotate(q, position)[order].T",
        ),
        (LAST, "    return o[np.argsort(order), :d].reshape(-1)"),
    ],
    "a column of the tile that is free": [
        ("(position // TILE + 1) * TILE", "-(-(position + 1) // TILE) * TILE")
    ],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_step_in_another_style_is_right(name, tmp_path):
    verdict = check(10, load(10, changed(solution(10), *RIGHT[name]), tmp_path))
    assert verdict.ok, verdict.sentence


def test_a_prompt_of_ones_own_is_the_only_input(tmp_path):
    step = load(10, solution(10), tmp_path)
    verdict = check(10, step, inputs={"prompt": "The rabbit"})
    assert verdict.sentence == "Every attention agrees with the model's own (your input)."
    assert {c.name: c.yours for c in verdict.counters}["calls of the kernel"] == 30
    assert check(10, step, inputs=["The rabbit"]).ok
    assert (
        check(10, known.step(EARLY), inputs={"prompt": "The rabbit"}).cause
        == "cache one position off"
    )


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "give one input, prompt"),
        ({"prompt": ""}, "give one input, prompt"),
        ({"prompt": 3}, "give one input, prompt"),
        ({"prompt": "a", "q": np.zeros(3)}, "give one input, prompt"),
        ({"prompt": "Zürich"}, "the model knows no character 'ü'"),
        ({"prompt": "a" * 300}, "at most, and the prompt has 300"),
    ],
)
def test_another_input_is_refused_in_one_sentence(inputs, words, tmp_path):
    verdict = check(10, load(10, solution(10), tmp_path), inputs=inputs)
    assert verdict.outcome == "unusable"
    assert words in verdict.sentence


def test_the_oracle_is_the_models_own_attention():
    for passage in passages.passages():
        given = stepcheck.answer(
            get(10), lambda *args: get(10).oracle(*args).astype(np.float32), passage
        )
        assert given.problem is None and stepcheck.first_wrong(given) is None


def test_the_least_is_what_stage_4_needs_for_every_call():
    budget = get(10).minimum(get(10).case("first words"))
    # tokens, layers; K and V tiles, q and o of 2 KV heads
    assert budget.dma_transfers == 8 * 3 * (2 * 2 * 1 + 2 * 2)
    assert budget.hbm_bytes_read == 8 * 3 * 4 * 33 * (4 + 2 * 2 * 128)
