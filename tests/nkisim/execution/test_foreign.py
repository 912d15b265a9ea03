"""Arrays of other libraries as arguments of kernels, in both dialects."""

from __future__ import annotations

import sys
import types

import ml_dtypes
import neuronxcc.nki as nki_01
import neuronxcc.nki.language as nl_01
import nki as nki_06
import nki.language as nl_06
import numpy as np
import pytest

import nkisim

X = np.arange(32, dtype=np.float32).reshape(4, 8)


class Torch:
    """What the simulator uses of torch.Tensor."""

    def __init__(self, array, kind=None, grad=False, device="cpu"):
        self.array, self.dtype, self.grad = array, kind or f"torch.{array.dtype}", grad
        self.device = types.SimpleNamespace(type=device)
        self.ndim = array.ndim

    def __array__(self, *args, **kwargs):
        return self.numpy()

    def detach(self):
        return Torch(self.array, self.dtype)

    def numpy(self):
        if self.grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if "bfloat16" in str(self.dtype) or "float8" in str(self.dtype):
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.array

    def view(self, kind):
        return Torch(self.array.view({"int16": np.int16, "uint8": np.uint8}[kind]))


@pytest.fixture
def torch(monkeypatch):
    module = types.ModuleType("torch")
    module.Tensor, module.int16, module.uint8 = Torch, "int16", "uint8"
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


@nki_01.jit
def copied_01(a):
    out = nl_01.ndarray(a.shape, dtype=a.dtype, buffer=nl_01.shared_hbm)
    nl_01.store(out, value=nl_01.load(a))
    return out


@nki_06.jit
def sum_06(rows):
    out = nl_06.ndarray(rows[0].shape, dtype=rows[0].dtype, buffer=nl_06.shared_hbm)
    nl_06.store(out, nl_06.add(nl_06.load(rows[0]), nl_06.load(rows[1])))
    return out


KINDS = {
    "torch.bfloat16": ml_dtypes.bfloat16,
    "torch.float8_e5m2": ml_dtypes.float8_e5m2,
    "torch.float8_e4m3fn": ml_dtypes.float8_e4m3fn,
}


@pytest.mark.parametrize("kind", KINDS)
def test_neuronxcc_takes_torch_tensors_of_types_that_numpy_lacks(torch, kind):
    x = X.astype(KINDS[kind])
    np.testing.assert_array_equal(copied_01(Torch(x, kind)), x)


def test_neuronxcc_takes_torch_tensors_with_gradient(torch):
    np.testing.assert_array_equal(copied_01(Torch(X, grad=True)), X)


def test_a_tensor_on_a_device_is_refused_by_name(torch):
    with pytest.raises(nkisim.KernelError, match="the input 'a' is a torch tensor on the device"):
        copied_01(Torch(X, device="cuda"))


def test_an_array_that_numpy_cannot_read_is_refused_by_name():
    class Strange:
        ndim = 2

        def __array__(self, *args, **kwargs):
            raise TypeError("no such type")

    with pytest.raises(nkisim.KernelError, match="the input 'a' cannot be read") as caught:
        copied_01(Strange())
    assert caught.value.rule == "input"
    assert caught.value.__suppress_context__


def test_an_array_of_another_library_is_taken_in_a_tuple(monkeypatch):
    class Jax:
        ndim, shape, dtype = X.ndim, X.shape, X.dtype

        def __array__(self, *args, **kwargs):
            return X

    np.testing.assert_array_equal(sum_06((Jax(), X)), X + X)
