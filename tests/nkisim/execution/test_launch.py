"""Ways to make and call a kernel, grids, arguments, results, and what is said when they do not
fit."""

from __future__ import annotations

import dataclasses
import inspect
import pickle

import ml_dtypes
import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import neuronxcc.nki.typing as nt
import numpy as np
import pytest

import nkisim

from ..helpers import refused

X = np.arange(128 * 8, dtype=np.float32).reshape(128, 8)


def twice(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(out, nl.multiply(nl.load(x), 2.0, dtype=x.dtype))
    return out


@nki.jit
def module_level(x):
    return_value = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(return_value, nl.load(x))
    return return_value


FORMS = [
    nki.jit(twice),
    nki.jit()(twice),
    nki.jit(mode="simulation")(twice),
    nki.jit(twice, mode="auto"),
    nki.jit(nki.jit(twice), mode="simulation", platform_target="trn2"),
    nki.jit(debug_kernel=True)(twice),
    nki.jit(additional_compile_opt="--x")(twice),
    nki.jit(mode="trace")(twice),
]


@pytest.mark.parametrize("kernel", FORMS)
def test_every_documented_form_of_jit_simulates_when_called_with_arrays(kernel):
    assert np.array_equal(kernel(X), 2 * X)
    assert np.array_equal(nki.simulate_kernel(kernel, X), 2 * X)


def test_a_plain_function_can_be_simulated():
    assert np.array_equal(nki.simulate_kernel(twice, X), 2 * X)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="no mode 'fast'"):
        nki.jit(twice, mode="fast")


@pytest.mark.parametrize("name", ["baremetal", "benchmark", "profile"])
def test_what_needs_a_device_can_be_made_and_says_so_when_called(name):
    make = getattr(nki, name)
    for kernel in (
        make(twice),
        make()(twice),
        make(warmup=2, iters=3, save_neff_name="file.neff")(twice),
    ):
        with pytest.raises(
            RuntimeError, match=f"nki.{name} runs 'twice' on a NeuronDevice"
        ) as caught:
            kernel(X)
        assert "nki.simulate_kernel(twice, ...)" in str(caught.value)
        assert np.array_equal(nki.simulate_kernel(kernel, X), 2 * X)


def test_a_kernel_keeps_its_source_its_name_and_survives_pickling():
    assert "return return_value" in inspect.getsource(module_level)
    assert module_level.__name__ == "module_level"
    assert np.array_equal(pickle.loads(pickle.dumps(module_level))(X), X)


def test_inputs_are_left_alone_and_outputs_are_new_arrays():
    given = X.copy()
    out = nki.jit(twice)(given)
    out[...] = 0
    assert np.array_equal(given, X)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int32, np.uint8])
def test_dtypes_come_back_as_they_went_in(dtype):
    out = module_level(X.astype(dtype))
    assert out.dtype == dtype and np.array_equal(out, X.astype(dtype))


def test_tuples_scalars_and_dataclasses_are_arguments_and_tuples_are_results():
    @dataclasses.dataclass
    class Options:
        factor: float
        weights: np.ndarray

    @nki.jit
    def kernel(pair, options, function=None, flag=True):
        a, b = pair
        first = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
        second = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
        nl.store(first, function(nl.load(a)) if function else nl.load(a))
        nl.store(second, nl.multiply(nl.load(options.weights), options.factor))
        assert flag and b.shape == a.shape
        return first, second

    first, second = kernel((X, X), Options(3.0, X), function=nl.square)
    assert np.array_equal(first, X**2) and np.array_equal(second, 3 * X)


def test_a_grid_runs_every_instance_and_they_share_the_output():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        i, j = nl.program_id(0), nl.program_id(axis=1)
        assert nl.num_programs(0) == 2 and nl.num_programs() == 8 and nl.program_ndim() == 2
        rows, columns = slice(i * 64, i * 64 + 64), nl.ds(j * 2, 2)
        nl.store(out[rows, columns], nl.multiply(nl.load(x[rows, columns]), float(i * 4 + j)))
        return out

    factors = np.repeat(np.repeat(np.arange(8).reshape(2, 4), 64, axis=0), 2, axis=1)
    for grid in ((2, 4), (nl.nc(2), 4), (nl.spmd_dim(nl.nc(2), 1), 4), (2, 2 * nl.nc(2))):
        assert np.array_equal(kernel[grid](X), X * factors)
    assert np.array_equal(nki.simulate_kernel(kernel[2, 4], X), X * factors)
    assert module_level[1](X).shape == X.shape


def test_a_kernel_calls_another_inline():
    @nki.jit
    def outer(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        helper(nl.load(x), out)
        return out

    @nki.jit(mode="trace")
    def helper(tile, out):
        nl.store(out, nl.exp(tile))

    assert np.allclose(outer(X / 1000), np.exp(X / 1000))


def test_the_older_style_writes_its_last_parameter_in_place():
    def kernel(x, out):
        nl.store(out, nl.multiply(nl.load(x), 2.0))

    for form in (nki.trace(kernel), nki.jit(kernel, kernel_return=False)):
        out = np.zeros_like(X)
        nki.simulate_kernel(form, X, out)
        assert np.array_equal(out, 2 * X)


def test_a_mutable_parameter_is_written_and_returned():
    @nki.jit
    def kernel(x: nt.mutable_tensor):
        nl.store(x, nl.multiply(nl.load(x), 2.0))
        return x

    given = X.copy()
    assert np.array_equal(kernel(given), 2 * X) and np.array_equal(given, 2 * X)


def test_what_the_kernel_raises_comes_out_unchanged():
    @nki.jit
    def kernel(x):
        assert x.shape[0] == 64, f"x must have 64 rows, got {x.shape}"

    with pytest.raises(AssertionError, match=r"x must have 64 rows, got \(128, 8\)"):
        kernel(X)
    assert np.array_equal(nki.jit(twice)(X), 2 * X)  # and the next kernel finds everything in order


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ((), "missing a required argument: 'x'"),
        ((X, X), "too many positional arguments"),
        ((X[:0],), "the input 'x' is empty"),
        ((X.astype(np.float64),), "float64"),
    ],
)
def test_arguments_that_do_not_fit_get_one_sentence(arrays, words):
    with pytest.raises(nkisim.KernelError) as caught:
        nki.jit(twice)(*arrays)
    assert words in caught.value.headline and caught.value.rule == "input"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "returns nothing"),
        (np.ones(3), "returns a NumPy value"),
        (3, "returns an int"),
        ("o", "returns a str"),
    ],
)
def test_what_is_no_output_is_refused(value, words):
    with pytest.raises(nkisim.KernelError) as caught:
        nki.jit(lambda x: value)(X)
    assert words in caught.value.headline and caught.value.rule == "no-output"


def test_low_precision_can_be_switched_off_to_tell_rounding_from_error(monkeypatch):
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=nl.float32, buffer=nl.shared_hbm)
        t = nl.load(x, dtype=nl.bfloat16)
        nl.store(out, nisa.tensor_copy(t, dtype=nl.float32))
        return out

    exact = X / 7
    assert not np.array_equal(kernel(exact), exact)
    monkeypatch.setenv("NKI_PRECISE_FP", "0")
    assert np.array_equal(kernel(exact), exact)


def test_the_target_comes_from_the_environment(monkeypatch):
    seen = []

    @nki.jit
    def kernel(x):
        seen.append((nisa.get_nc_version().name, nl.tile_size.total_available_sbuf_size))
        return _store(x)

    def _store(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.hbm)
        nl.store(out, nl.load(x))
        return out

    for name in ("trn1", "trn2", "trn3"):
        monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", name)
        kernel(X)
    assert seen == [("gen2", 192 * 1024), ("gen3", 224 * 1024), ("gen4", 256 * 1024)]


def test_a_kernel_without_readable_source_runs():
    space: dict = {"nl": nl}
    exec(
        "def kernel(x):\n out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)\n"
        " for i in range(2): t = nl.load(x)\n nl.store(out, nl.load(x))\n return out",
        space,
    )
    assert np.array_equal(nki.jit(space["kernel"])(X), X)


class Borrowed:
    """An array of another library, as NumPy sees it."""

    def __init__(self, values):
        self.values, self.shape, self.ndim, self.dtype = (
            values,
            values.shape,
            values.ndim,
            "float32",
        )

    def __array__(self, dtype=None, copy=None):
        return self.values


@nki.jit
def increased(x: nt.mutable_tensor):
    nl.store(x, nl.load(x) + 1)
    return x


@nki.jit
def increased_too(x: nt.tensor[nt.mutable]):
    nl.store(x, nl.load(x) + 1)
    return x


def test_a_parameter_is_mutable_by_the_annotation_of_a_tensor_too():
    x = np.zeros((4, 4), np.float32)
    increased_too(x)  # annotated by text, as this file puts annotations off
    assert (x == 1).all() and nt.tensor[nt.mutable] is nt.mutable_tensor


def test_arrays_of_other_libraries_are_taken_on_their_own_memory():
    x = np.zeros((4, 4), np.float32)
    assert isinstance(increased(Borrowed(x)), np.ndarray)
    assert (x == 1).all()


def test_a_read_only_array_serves_as_an_input_and_not_as_what_is_written():
    x = np.zeros((4, 4), np.float32)
    x.flags.writeable = False

    def copied(source, target):
        nl.store(target, nl.load(source))

    target = np.ones((4, 4), np.float32)
    nki.simulate_kernel(nki.trace(copied), x, target)
    assert (target == 0).all()
    assert "read-only" in refused(increased, x, rule="input").got
    assert "read-only" in refused(nki.trace(copied), target + 1, x, rule="input").got


@pytest.mark.parametrize("grid", [2.5, -1, (2, True), ("2",)])
def test_the_sizes_of_a_grid_are_integers(grid):
    with pytest.raises(nkisim.KernelError) as caught:
        increased[grid]
    assert caught.value.rule == "argument"
