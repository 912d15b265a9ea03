"""Making and calling kernels: jit, simulate, arguments, inputs that change in place, targets,
environment variables."""

from __future__ import annotations

import dataclasses
import sys
import types
import warnings
from enum import Enum

import ml_dtypes
import nki
import nki.isa as nisa
import nki.language as nl
import nki.typing as nt
import numpy as np
import pytest

import nkisim

from .kernels import on_tiles, tile, values

X = values(128, 16)


@nki.jit
def doubled(x):
    t = nl.load(x)
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(out, nl.add(t, t))
    return out


def plain(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(out, x)
    return out


@pytest.mark.parametrize(
    "call",
    [
        lambda x: doubled(x),
        lambda x: nki.simulate(doubled)(x),
        lambda x: nki.simulate_kernel(doubled, x),
        lambda x: doubled[1](x),
        lambda x: nki.simulate(doubled[1])(x),
        lambda x: nki.jit(doubled)(x),
        lambda x: nki.jit()(doubled.function)(x),
        lambda x: doubled.with_schedule([("a", "b")])(x),
    ],
)
def test_every_way_of_calling_a_kernel_simulates_it(call):
    np.testing.assert_array_equal(call(X), 2 * X)


def test_a_plain_function_is_simulated_too():
    np.testing.assert_array_equal(nki.simulate(plain)(X), X)


def test_a_kernel_called_by_another_runs_inside_it():
    @nki.jit
    def outer(x):
        return doubled(x)

    np.testing.assert_array_equal(outer(X), 2 * X)


def test_an_input_that_the_kernel_writes_changes_in_place():
    @nki.jit
    def kernel(x, out):
        t = nl.load(x)
        nl.store(out[0:128, 0:8], t[:, 0:8])

    out = np.zeros((128, 16), np.float32)
    assert kernel(X, out) is None
    np.testing.assert_array_equal(out, np.where(np.arange(16) < 8, X, 0))


def test_an_input_that_is_no_dense_array_changes_in_place():
    @nki.jit
    def kernel(out):
        nl.store(out, nl.full(out.shape, 3.0, dtype=out.dtype, buffer=nl.sbuf))
        return out

    base = np.zeros((128, 32), np.float32)
    returned = kernel(base[:, ::2])
    assert (base[:, ::2] == 3).all() and (base[:, 1::2] == 0).all() and (returned == 3).all()


def test_an_input_that_is_a_part_of_an_array_is_seen_from_its_own_start():
    @nki.jit
    def kernel(x):
        t = tile((4, 8))
        nisa.dma_copy(t, x.ap([[16, 4], [1, 8]], offset=8))
        out = nl.ndarray((4, 8), dtype=x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(out, t)
        return out

    base = values(3, 4, 16)
    np.testing.assert_array_equal(kernel(base[1]), base[1][:, 8:])


def test_a_read_only_input_is_not_written():
    @nki.jit
    def kernel(out):
        nl.store(out, nl.full(out.shape, 3.0, dtype=out.dtype, buffer=nl.sbuf))

    frozen = np.zeros((4, 4), np.float32)
    frozen.setflags(write=False)
    with pytest.raises(nkisim.KernelError, match="cannot be written") as caught:
        kernel(frozen)
    assert caught.value.rule == "input"


def test_a_kernel_that_returns_and_writes_nothing_is_refused():
    @nki.jit
    def kernel(x):
        nl.load(x)

    with pytest.raises(nkisim.KernelError) as caught:
        kernel(X)
    assert caught.value.rule == "no-output"


def test_an_output_that_is_not_written_is_refused():
    @nki.jit
    def kernel(x):
        return nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)

    with pytest.raises(nkisim.KernelError) as caught:
        kernel(X)
    assert caught.value.rule == "unwritten-output"


def test_objects_enums_and_functions_are_arguments():
    class Kind(Enum):
        PLAIN = 1

    @dataclasses.dataclass
    class Options(nl.NKIObject):
        data: object
        factor: float = 2.0
        scale_it = True

    def by(t, factor):
        nisa.tensor_scalar(t, t, nl.multiply, factor)

    @nki.jit
    def kernel(options, kind, function, pair):
        assert kind == Kind.PLAIN and pair[0].shape == (4, 4)
        t = nl.load(options.data)
        if options.scale_it:
            function(t, options.factor)
        out = nl.ndarray(t.shape, dtype=t.dtype, buffer=nl.shared_hbm)
        nl.store(out, t)
        return out

    options = Options(X, factor=3.0, scale_it=True)
    got = kernel(options, Kind.PLAIN, by, (np.zeros((4, 4), np.float32), 1))
    np.testing.assert_array_equal(got, 3 * X)
    assert options.data is X


def test_an_object_takes_its_fields_by_position_or_keyword_and_defaults_to_none():
    class Shape(nl.NKIObject):
        rows: int
        columns: int = 4
        tag = "x"

        def size(self):
            return self.rows * self.columns

    class Named(Shape):
        name: str = "n"

        def __post_init__(self):
            self.label = f"{self.name}{self.size()}"

    assert Shape(2).size() == 8 and Shape(rows=3, columns=5).size() == 15 and Shape().rows is None
    assert Named(2, tag="y", name="m").label == "m8" and Named(2, tag="y").tag == "y"
    with pytest.raises(TypeError, match="no field 'depth'"):
        Shape(depth=1)

    @dataclasses.dataclass(frozen=True)
    class Frozen(nl.NKIObject):
        n: int = 1

    assert Frozen(2).n == 2 and hash(Frozen(2)) == hash(Frozen(2))


def test_an_annotated_shape_is_held_against_the_argument():
    @nki.jit
    def kernel(x: nt.tensor[128, 16]):
        return x

    kernel(X)
    with pytest.raises(nkisim.KernelError, match="annotated shape") as caught:
        kernel(values(64, 16))
    assert caught.value.rule == "annotation"


def test_a_list_as_an_argument_is_warned_about():
    @nki.jit
    def kernel(xs):
        return xs[0]

    with pytest.warns(nkisim.RuleWarning, match="Pass a tuple"):
        kernel([X, X])


def test_old_arguments_of_jit_are_warned_about_and_the_target_is_taken_all_the_same():
    with pytest.warns(nkisim.RuleWarning, match="platform_target"):

        @nki.jit(platform_target="trn3")
        def kernel(x):
            assert nisa.get_nc_version() == nisa.nc_version.gen4
            return x

    kernel(X)
    with pytest.warns(nkisim.RuleWarning, match="mode"):
        nki.jit(plain, mode="trace")


def test_an_output_in_private_memory_is_warned_about():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.hbm)
        nisa.dma_copy(out, x)
        return out

    with pytest.warns(nkisim.RuleWarning, match="nl.shared_hbm"):
        np.testing.assert_array_equal(kernel(X), X)


def test_the_target_comes_from_the_environment_and_else_is_trn2(monkeypatch):
    @nki.jit
    def kernel(x):
        seen.append((nisa.get_nc_version().name, nl.tile_size.sbuf_fmax_bytes))
        return x

    seen: list = []
    monkeypatch.delenv("NEURON_PLATFORM_TARGET_OVERRIDE", raising=False)
    kernel(X)
    for name in ("trn1", "gen2", "inf2", "trn2", "gen3", "trn3", "gen4"):
        monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", name)
        kernel(X)
    assert [s[0] for s in seen] == ["gen3", "gen2", "gen2", "gen2", "gen3", "gen3", "gen4", "gen4"]
    assert [s[1] for s in seen][:2] == [224 * 1024, 192 * 1024]


def test_what_only_trn3_has_warns_without_a_target_and_is_refused_on_another(monkeypatch):
    def body(t):
        return nl.abs_max(t, nl.full((128, 16), -1.0, dtype=nl.float32, buffer=nl.sbuf))

    @nki.jit
    def kernel(x):
        needs = nl.load(x).indirect(nl.load(x).view(nl.uint32))
        assert nisa.get_nc_version() == nisa.nc_version.gen4 and needs.is_indirect()
        return x

    monkeypatch.delenv("NEURON_PLATFORM_TARGET_OVERRIDE", raising=False)
    with pytest.warns(nkisim.RuleWarning, match="NEURON_PLATFORM_TARGET_OVERRIDE=trn3"):
        kernel(X)
    monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", "trn2")
    with pytest.raises(nkisim.KernelError, match="needs NeuronCore-v4") as caught:
        kernel(X)
    assert caught.value.rule == "engine"
    monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", "trn3")
    with warnings.catch_warnings():
        warnings.simplefilter("error", nkisim.RuleWarning)
        kernel(X)


def test_precise_floats_are_the_default_and_can_be_turned_off(monkeypatch):
    @nki.jit
    def kernel(x):
        t = nl.load(x, dtype=nl.bfloat16)
        out = nl.ndarray(x.shape, dtype=nl.float32, buffer=nl.shared_hbm)
        nisa.dma_copy(out, t)
        return out

    monkeypatch.delenv("NKI_PRECISE_FP", raising=False)
    np.testing.assert_array_equal(kernel(X), X.astype(ml_dtypes.bfloat16).astype(np.float32))
    monkeypatch.setenv("NKI_PRECISE_FP", "0")
    np.testing.assert_array_equal(kernel(X), X)


@pytest.mark.parametrize("value", ["1", "0"])
def test_a_call_simulates_whatever_nki_simulator_says(monkeypatch, value):
    monkeypatch.setenv("NKI_SIMULATOR", value)
    np.testing.assert_array_equal(doubled(X), 2 * X)


class _TorchTensor:
    """What the simulator uses of torch.Tensor, on a NumPy array."""

    def __init__(self, array, dtype=None):
        self.array, self.dtype = array, dtype or f"torch.{array.dtype}"
        self.device = types.SimpleNamespace(type="cpu")

    def detach(self):
        return self

    def numpy(self):
        return self.array

    def view(self, dtype):
        if dtype == "int16":
            return _TorchTensor(self.array.view(np.int16))
        return _TorchTensor(self.array.view(ml_dtypes.bfloat16), "torch.bfloat16")


def test_torch_tensors_go_in_and_come_out(monkeypatch):
    torch = types.ModuleType("torch")
    torch.Tensor, torch.from_numpy, torch.int16, torch.bfloat16 = (
        _TorchTensor,
        _TorchTensor,
        "int16",
        "bfloat16",
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    half = X.astype(ml_dtypes.bfloat16)
    got = doubled(_TorchTensor(half, "torch.bfloat16"))
    assert isinstance(got, _TorchTensor) and got.dtype == "torch.bfloat16"
    np.testing.assert_array_equal(got.array, half + half)
    assert isinstance(doubled(_TorchTensor(X)), _TorchTensor) and isinstance(doubled(X), np.ndarray)


def test_torch_is_not_imported_by_the_simulator(run_python):
    code = (
        "import nkisim, nki, numpy as np, sys; nki.simulate(lambda x: x)(np.zeros((4, 4), "
        "np.float32)); print('torch' in sys.modules)"
    )
    assert run_python("-c", code).stdout.strip() == "False"


def test_device_print_prints_and_is_kept(capsys):
    @nki.jit
    def kernel(x):
        nl.device_print("x is", nl.load(x[0:1, 0:2]))
        nl.device_print("row", x[0])
        return x

    ones = np.ones((4, 4), np.float32)
    kernel(ones)
    assert capsys.readouterr().out == "x is [[1. 1.]]\nrow [1. 1. 1. 1.]\n"
    with nkisim.record() as run:
        kernel(ones)
    assert [p.prefix for p in run.prints] == ["x is", "row"]


def test_the_tile_sizes_are_those_of_the_target():
    def body(t):
        s = nl.tile_size
        assert (
            s.pmax,
            s.psum_fmax,
            s.psum_bank_fmax,
            s.psum_bank_fmax_bytes,
            s.psum_num_banks,
        ) == (128, 512, 512, 2048, 8)
        assert (s.gemm_stationary_fmax, s.gemm_moving_fmax, s.bn_stats_fmax) == (128, 512, 512)
        assert s.sbuf_size_bytes == 128 * s.sbuf_fmax_bytes and s.sbuf_fmax * 4 == s.sbuf_fmax_bytes
        assert s.total_available_sbuf_size == s.sbuf_fmax_bytes
        return t

    on_tiles(body, X)
