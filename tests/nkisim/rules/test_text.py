"""The text of kernels: in files, in no file, and under the name of a file that holds another."""

from __future__ import annotations
import __future__

import ast
import linecache

import neuronxcc.nki as nki_01
import neuronxcc.nki.language as nl_01
import nki as nki_06
import nki.language as nl_06
import numpy as np
import pytest

import nkisim
from nkisim.rules import source

X = np.ones((4, 8), np.float32)

USED_IN_ITS_BRANCH = """
def kernel(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for i in range(1):
        if i == 0:
            t = nl.load(x)
            nl.store(out, nl.exp(t))
    return out
"""
USED_OUTSIDE = """
def kernel(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for i in range(1):
        t = nl.load(x)
    nl.store(out, t)
    return out
"""
OTHER = """
# another text, in which line 4 and what follows are a branch
def kernel(x):
    for i in range(1):
        first = x
    if first:
        pass
    nothing = None
    return nothing
"""


def made(text, filename, nl=nl_01):
    space = {"nl": nl}
    exec(compile(text, filename, "exec"), space)
    return space["kernel"]


def test_a_kernel_without_a_file_runs_and_its_errors_name_its_line():
    nki_01.jit(made(USED_IN_ITS_BRANCH, "<string>"))(X)
    wrong = made(USED_IN_ITS_BRANCH.replace("nl.exp(t)", "nl.exp(x)"), "<string>")
    with pytest.raises(nkisim.KernelError) as caught:
        nki_01.jit(wrong)(X)
    assert (caught.value.filename, caught.value.line, caught.value.source) == ("<string>", 7, "")
    assert "  line    <string>:7\n" in str(caught.value)


@pytest.mark.parametrize("text", [USED_IN_ITS_BRANCH, USED_OUTSIDE])
def test_a_text_under_the_name_of_another_file_is_not_judged_by_that_file(text, tmp_path):
    path = tmp_path / "other.py"
    path.write_text(OTHER, encoding="utf-8")
    kernel = made(text, str(path))
    assert source.lines_of(kernel.__code__) == ()
    nki_01.jit(kernel)(X)  # its scopes are not known: nothing is refused for them


def test_a_text_in_its_own_file_has_scopes_and_lines(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(USED_OUTSIDE, encoding="utf-8")
    kernel = made(USED_OUTSIDE, str(path))
    with pytest.raises(nkisim.KernelError) as caught:
        nki_01.jit(kernel)(X)
    assert caught.value.rule == "scope"
    assert (caught.value.line, caught.value.source) == (6, "nl.store(out, t)")


def test_a_cell_of_a_notebook_has_scopes_and_lines():
    name = "<ipython-input-1>"
    lines = [line + "\n" for line in USED_OUTSIDE.split("\n")]
    linecache.cache[name] = (len(USED_OUTSIDE), None, lines, name)
    with pytest.raises(nkisim.KernelError) as caught:
        nki_01.jit(made(USED_OUTSIDE, name))(X)
    assert caught.value.rule == "scope" and caught.value.source == "nl.store(out, t)"


def test_a_cell_that_imports_what_its_kernel_calls_has_scopes_and_lines():
    """A notebook compiles a cell statement by statement: the kernel does not see the import, and a
    call of what is imported is another byte code then."""
    name, shown = "<cell with imports>", "import neuronxcc.nki.language as nl\n" + USED_OUTSIDE
    linecache.cache[name] = (len(shown), None, shown.splitlines(keepends=True), name)
    space = {}
    for statement in ast.parse(shown).body:
        exec(compile(ast.Module([statement], []), name, "exec"), space)
    with pytest.raises(nkisim.KernelError) as caught:
        nki_01.jit(space["kernel"])(X)
    assert caught.value.rule == "scope" and caught.value.source == "nl.store(out, t)"


def test_the_python_subset_is_not_read_from_another_text(tmp_path):
    path = tmp_path / "other.py"
    path.write_text(
        OTHER.replace("if first", "while first is not None and not isinstance(x, int)"), "utf-8"
    )
    text = """
def kernel(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(out, nl.load(x))
    return out
"""
    np.testing.assert_array_equal(nki_06.jit(made(text, str(path), nl_06))(X), X)


def test_the_text_of_a_function_under_test_is_found_though_pytest_rewrote_it():
    code = test_the_text_of_a_function_under_test_is_found_though_pytest_rewrote_it.__code__
    lines = source.lines_of(code)
    assert lines and lines[code.co_firstlineno - 1].startswith("def test_the_text_of")


def test_a_file_that_was_edited_after_it_was_compiled_is_not_read_for_scopes(tmp_path):
    path = tmp_path / "edited.py"
    path.write_text(USED_IN_ITS_BRANCH, encoding="utf-8")
    kernel = made(USED_IN_ITS_BRANCH, str(path))
    moved = USED_IN_ITS_BRANCH.replace("    for i", "\n\n    for i")
    path.write_text(moved, encoding="utf-8")
    linecache.checkcache(str(path))
    assert source.lines_of(kernel.__code__) == ()
    nki_01.jit(kernel)(X)
    after = made(moved, str(path))  # what is compiled from the new text is read there
    assert source.lines_of(after.__code__)[after.__code__.co_firstlineno - 1].startswith("def ker")


@pytest.mark.parametrize("wanted", ["__future__ in the text", "__future__ of an earlier cell"])
def test_annotations_that_are_not_evaluated_do_not_hide_a_text(wanted):
    name = f"<cell of {wanted}>"
    text = USED_OUTSIDE.replace(
        "    for i", "    def inner(y: 'int', z: list[int]): pass\n    for i"
    )
    future = "from __future__ import annotations\n"
    shown = future + text if wanted == "__future__ in the text" else text
    flags = 0 if shown != text else __future__.annotations.compiler_flag
    linecache.cache[name] = (len(shown), None, shown.splitlines(keepends=True), name)
    space = {"nl": nl_01}
    exec(compile(shown, name, "exec", flags=flags, dont_inherit=True), space)
    with pytest.raises(nkisim.KernelError) as caught:
        nki_01.jit(space["kernel"])(X)
    assert caught.value.rule == "scope" and caught.value.source == "nl.store(out, t)"


def test_a_cell_that_does_not_compile_by_itself_has_scopes_and_lines():
    name = "<cell with an await>"
    shown = USED_OUTSIDE + "await nothing\n"
    linecache.cache[name] = (len(shown), None, shown.splitlines(keepends=True), name)
    with pytest.raises(nkisim.KernelError) as caught:
        nki_01.jit(made(USED_OUTSIDE, name))(X)
    assert caught.value.rule == "scope" and caught.value.source == "nl.store(out, t)"


def test_kernels_of_one_text_that_is_run_twice_keep_their_own_lines(tmp_path):
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    for path, shift in ((first, ""), (second, "\n\n\n")):
        path.write_text(shift + USED_OUTSIDE, encoding="utf-8")
        with pytest.raises(nkisim.KernelError) as caught:
            nki_01.jit(made(shift + USED_OUTSIDE, str(path)))(X)
        assert (caught.value.filename, caught.value.line) == (str(path), 6 + len(shift))


def test_a_nested_function_and_a_method_of_a_text_on_no_disk_run():
    text = """
class Doubler:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        def twice(t):
            for _ in range(1):
                made = nl.multiply(t, self.by)
                done = made
            return done

        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, twice(nl.load(x)))
        return out
"""
    space = {"nl": nl_01}
    exec(compile(text, "<string>", "exec"), space)
    np.testing.assert_array_equal(nki_01.jit(space["Doubler"](2.0))(X), 2 * X)


def test_the_same_code_in_two_files_has_the_lines_of_each_however_many_are_remembered(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(source, "_PLACES", 1)
    codes = {}
    for name in ("one", "two"):
        file = tmp_path / f"{name}.py"
        file.write_text(f"def kernel(x):\n    return x  # {name}\n", encoding="utf-8")
        namespace: dict[str, object] = {}
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), namespace)
        codes[name] = namespace["kernel"].__code__
    assert codes["one"] == codes["two"]  # a code object does not compare its file's name
    for _ in range(2):
        for name, code in codes.items():
            at = len(code.co_code) - 2
            assert source.line_of(code, at) == (
                str(tmp_path / f"{name}.py"),
                2,
                f"return x  # {name}",
            )
