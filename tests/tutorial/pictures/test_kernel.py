"""The picture of a reader's own kernel: what it says of the run is true of the run."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest

import nkisim
from tests.tutorial.kernels import changed, load, solution
from tutorial import get, picture
from tutorial.pictures import kernel, reading
from tutorial.pictures.canvas import Arrow
from tutorial.running import runner


def flow_of(number, text, folder):
    lesson = get(number)
    return reading.read(
        runner.run(load(number, text, folder), lesson.case(lesson.cost_case), lesson).run
    )


@pytest.fixture(scope="module")
def three_passes(tmp_path_factory):
    return flow_of(2, solution(2), tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def one_pass(tmp_path_factory):
    return flow_of(3, solution(3), tmp_path_factory.mktemp("three"))


def tensor(flow, name):
    return next(t for t in flow.tensors if t.name == name)


def test_every_instruction_of_the_run_is_in_the_flow(tmp_path):
    lesson = get(4)
    run = runner.run(load(4, solution(4), tmp_path), lesson.case(lesson.cost_case), lesson).run
    flow = reading.read(run)
    assert sum(flow.steps.values()) == len(run)
    ops = {}
    for step, count in flow.steps.items():
        ops[step.op] = ops.get(step.op, 0) + count
    assert ops == run.counts()


def test_turns_of_a_loop_are_one_step(one_pass):
    loads = {s.target.name: n for s, n in one_pass.steps.items() if s.engine == "dma"}
    assert loads == {"q_tile": 1, "k_tile": 8, "v_tile": 8, "o": 1}


def test_every_cell_is_counted_as_often_as_it_was_read(three_passes, one_pass):
    assert set(tensor(three_passes, "k").reads) == {3} and set(tensor(three_passes, "v").reads) == {
        1
    }
    assert set(tensor(one_pass, "k").reads) == {1}
    assert set(tensor(one_pass, "o").writes) == {1} and not tensor(one_pass, "o").reads.any()


def test_cells_are_counted_at_their_coordinates():
    import neuronxcc.nki as nki
    import neuronxcc.nki.language as nl

    @nki.jit
    def part(x):
        out = nl.ndarray((4, 2), dtype=x.dtype, buffer=nl.shared_hbm)
        nl.load(x[0:4, 0:8])
        t = nl.load(x[2:6, nl.ds(6, 2)])
        nl.store(out, value=t)
        return out

    with nkisim.record() as run:
        part(np.zeros((8, 8), np.float32))
    found = reading.read(run)
    want = np.zeros((8, 8), int)
    want[0:4, 0:8] += 1
    want[2:6, 6:8] += 1
    assert np.array_equal(tensor(found, "x").reads.reshape(8, 8), want)


def paged(text, folder, traces=True):
    lesson = get(8)
    case = lesson.case(lesson.cost_case)
    run = runner.run(load(8, text, folder), case, lesson, traces=traces).run
    return case, reading.read(run)


def test_blocks_that_a_table_picks_are_counted_where_they_lie(tmp_path):
    case, flow = paged(solution(8), tmp_path)
    found = tensor(flow, "k_blocks")
    blocks = found.reads.reshape(case.args["k_blocks"].shape)
    size = blocks.shape[2]
    used = set()
    for row, length in zip(case.args["block_table"], case.args["lengths"].ravel()):
        used |= set(row[: -(-int(length) // size)].tolist())
    assert found.by_index == 0 and used and len(used) < blocks.shape[0] + 1
    for block in range(blocks.shape[0]):
        assert blocks[block].any() == (block in used), block
        assert not blocks[block].any() or set(blocks[block].ravel()) == {1}


def test_a_block_is_one_cell_of_the_picture_in_the_row_of_its_head(tmp_path):
    case, flow = paged(solution(8), tmp_path)
    found = tensor(flow, "k_blocks")
    (plane,) = reading.planes(found)
    n_blocks, heads = case.args["k_blocks"].shape[:2]
    assert plane.shape == (heads, n_blocks)
    drawn = kernel.draw(flow, "paged")
    assert "k_blocks" in drawn.alt and ", by index" in drawn.alt
    assert any(name.startswith("k_blocks[0]") for name in drawn.boxes)


def test_a_block_that_is_read_twice_is_warmer_than_the_others(tmp_path):
    lesson = get(8)
    case = lesson.case(lesson.cost_case)
    table = case.args["block_table"].copy()
    table[1, 0] = table[0, 0]  # two sequences share a block
    given = {**case.args, "block_table": table}
    run = runner.run(
        load(8, solution(8), tmp_path), lesson.custom_case(given), lesson, traces=True
    ).run
    (plane,) = reading.planes(tensor(reading.read(run), "k_blocks"))
    assert set(plane[:, table[0, 0]].tolist()) == {2} and plane.max() == 2


def test_where_a_run_did_not_keep_what_indices_picked_the_bytes_are_told(tmp_path):
    _, flow = paged(solution(8), tmp_path, traces=False)
    found = tensor(flow, "k_blocks")
    assert found.by_index > 0 and not found.reads.any()
    assert "bytes by index" in kernel.draw(flow, "paged").alt


def test_a_second_read_is_warmer(three_passes, one_pass):
    cold, hot = kernel.draw(one_pass, "one"), kernel.draw(three_passes, "three")
    tone = {name: box.tone for name, box in cold.boxes.items() if name.startswith("k[")}
    assert set(tone.values()) == {kernel.warmth(1)}
    tone = {name: box.tone for name, box in hot.boxes.items() if name.startswith("k[")}
    assert set(tone.values()) == {kernel.warmth(3)}
    assert len({kernel.warmth(n) for n in (1, 2, 3)}) == 3
    assert "k (64, 1024) is read 3 times" in hot.alt


def test_only_the_part_that_was_read_twice_is_warm():
    counts = np.ones((2, 8), np.int64)
    counts[:, 3:5] = 2
    found = kernel._patches(counts)
    assert [(left, width, count) for left, _, width, _, count in found] == [
        (0, 3 / 8, 1),
        (3 / 8, 2 / 8, 2),
        (5 / 8, 3 / 8, 1),
    ]


def test_arrows_come_from_the_last_writer_of_what_a_step_reads(one_pass):
    picture_of = kernel.draw(one_pass, "one")
    names = {s.name for s in picture_of.shapes if isinstance(s, Arrow)}
    steps = list(one_pass.steps)
    for i, step in enumerate(steps):
        for source in step.sources:
            writers = [j for j in range(i) if steps[j].target == source]
            if writers:
                assert f"{writers[-1]} to {i}" in names
    assert all(int(n.split()[0]) < int(n.split()[2]) for n in names)


def test_tiles_lie_in_the_lane_of_their_memory(one_pass):
    places = kernel._places(list(one_pass.steps.items()), 0.0)
    for step, (x, _, wide, tall) in zip(one_pass.steps, places, strict=True):
        left, room = kernel.LANES[step.target.memory]
        assert x == left and 0 < wide <= room and 0 < tall <= kernel.ROW


def test_what_the_worked_kernel_does_not_do_is_marked(tmp_path):
    twice = changed(
        solution(3),
        (
            "        qk_psum = nisa.nc_matmul(q_tile, k_tile)",
            "        k_tile = nl.load(k[:, nl.ds(i * TILE, TILE)])\n"
            "        extra = nisa.tensor_copy(k_tile, dtype=nl.bfloat16)\n"
            "        qk_psum = nisa.nc_matmul(q_tile, k_tile)",
        ),
    )
    made = picture(3, load(3, twice, tmp_path))
    marked = [w for w in made.words if w.endswith(("NEW", "+8"))]
    assert len([w for w in marked if w.endswith("NEW")]) == 1
    assert len([w for w in marked if w.endswith("+8")]) == 3  # K twice, and V: of one shape
    assert "Not in the worked kernel: tensor_copy to extra." in made.alt


def test_the_worked_kernel_itself_has_no_marks(tmp_path):
    made = picture(3, load(3, solution(3), tmp_path))
    assert not any("NEW" in word or "+" in word for word in made.words)


@pytest.mark.parametrize("number", range(10))
def test_every_stages_kernel_has_a_picture_that_fits(number, tmp_path):
    made = picture(number, load(number, solution(number), tmp_path))
    assert 3 <= sum(name.startswith("step") for name in made.boxes) <= kernel.MOST
    for shape in made.shapes:
        if hasattr(shape, "anchor") and shape.anchor == "start":
            assert shape.x + shape.width <= made.width, shape.text
    assert made.svg == picture(number, load(number, solution(number), tmp_path)).svg


def test_the_words_below_the_boxes_say_how_large_they_are_drawn():
    narrow, wide = (
        kernel._tile_size(reading.Tile("t", "sbuf", (p, n), 4 * p * n, p, 1), 512, 100.0)
        for p, n in ((64, 128), (128, 512))
    )
    assert wide == (100, 34) and narrow == (50, 17)  # the width goes with the square root
    words = kernel._footnotes(1, 1, False)
    assert "to scale" not in " ".join(words) and "Wider: more elements on each." in words[1]


def test_an_image_holds_no_line_of_the_kernel_and_a_file_does(tmp_path):
    made = picture(3, load(3, solution(3), tmp_path))
    data = re.search(r'base64,([^"]+)', made.image())
    assert "nisa." in made.svg and "nisa." not in base64.b64decode(data[1]).decode()


def test_many_instructions_are_folded_by_line(tmp_path):
    flow = flow_of(8, solution(8), tmp_path)
    assert len(flow.steps) > kernel.MOST
    folded = reading.by_line(flow)
    assert len(folded) == len({step.line for step in flow.steps})
    assert "those of one line are one box" in " ".join(kernel.draw(flow, "eight").words)


def test_a_kernel_that_does_not_run_gives_a_picture_that_says_so(tmp_path):
    blank = get(3).blank
    made = picture(3, load(3, blank, tmp_path))
    assert made.alt == "stage 3 online_softmax is not attempted yet."
    assert made.words == ("stage 3 online_softmax is not attempted yet.",)
    assert "has no kernel" in picture(10, lambda: None).alt
