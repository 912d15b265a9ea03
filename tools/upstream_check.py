"""Run kernels and tests of AWS's public repositories, from a clone that you have, on the simulator.

usage: python tools/upstream_check.py PATH [--only WORDS] [--tests GLOB]

PATH is a checkout of aws-neuron/aws-neuron-sdk (tags v2.26.0 and v2.32.0), aws-neuron/nki-samples
or aws-neuron/nki-library. Scripts are run unmodified through the launcher; kernels without a script
are called on small arrays and compared with NumPy; test files (the documentation's of the 0.1
dialect and since, the samples') are run unmodified by pytest. With --tests only the test files that
match are run, of any checkout. Each case and each file runs in a separate process. Nothing of
those repositories is part of this one. The exit status is 0 if all pass but the tests that
`tools/data/upstream_tests.toml` lists, each with its reason. What needs a device, jax or torch's
Neuron integration is left out.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import upstream_tests

CASES: dict[str, tuple[str, Callable[[Path], None]]] = {}
"""Name -> (a file that the checkout must have, what to run)."""

RNG = np.random.default_rng(0)
SDK_EXAMPLES = "nki/examples"
SAMPLES = "src/nki_samples/tutorials"
LIBRARY = "src/nkilib_src/nkilib"


def case(name: str, needs: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    def define(function: Callable[[Path], None]) -> Callable[[Path], None]:
        CASES[name] = (needs, function)
        return function

    return define


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def module(path: Path) -> Any:
    """The Python file at `path`, imported with its folder on the path."""
    sys.path.insert(0, str(path.parent))
    return importlib.import_module(path.stem)


def agree(got: Any, expected: np.ndarray, tolerance: float = 1e-3) -> None:
    np.testing.assert_allclose(
        np.asarray(got).astype(np.float64), expected, rtol=tolerance, atol=tolerance
    )


# -- scripts that check themselves -----------------------------------------------------------------
SCRIPTS = {
    "nki/examples/simulate/nki_simulate_example.py": (),
    "nki/examples/getting_started_baremetal.py": (),
    "nki/examples/transpose2d/transpose2d_nki_kernels.py": (),
    "nki/examples/average_pool2d/average_pool2d_nki_kernels.py": (),
    "nki/examples/fused_mamba/mamba_nki_kernels.py": (
        "--batch",
        "1",
        "--seq_len",
        "512",
        "--channels",
        "128",
    ),
    "src/nki_samples/tutorials/transpose2d/transpose2d_nki_kernels.py": (),
    "src/nki_samples/tutorials/average_pool2d/average_pool2d_nki_kernels.py": (),
    "src/nki_samples/tutorials/fused_mamba/mamba_nki_kernels.py": (
        "--mode",
        "accuracy",
        "--seq_len",
        "512",
        "--channels",
        "128",
    ),
}


def _script(path: str, arguments: tuple[str, ...]) -> None:
    @case(path, path)
    def run(root: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "nkisim", str(root / path), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise AssertionError(next((line for line in lines if "Error" in line), lines[-1]))


for _path, _arguments in SCRIPTS.items():
    _script(_path, _arguments)


# -- kernels of the tutorials ----------------------------------------------------------------------
def _matmuls(folder: str) -> None:
    file = f"{folder}/matrix_multiplication/matrix_multiplication_nki_kernels.py"
    sizes = {
        "nki_matmul_basic_": (128, 64, 512),
        "nki_matmul_tiled_": (256, 256, 1024),
        "nki_matmul_hoist_load_": (256, 256, 1024),
        "nki_matmul_block_free_dimension_": (256, 512, 1024),
        "nki_matmul_fully_optimized_": (1024, 2048, 1024),
    }
    for name, (k, m, n) in sizes.items():

        @case(f"{file}: {name}", file)
        def run(root: Path, name: str = name, k: int = k, m: int = m, n: int = n) -> None:
            a, b = normal(k, m), normal(k, n)
            agree(getattr(module(root / file), name)(a, b), a.T.astype(np.float64) @ b, 1e-2)


_matmuls(SDK_EXAMPLES)
_matmuls(SAMPLES)


@case(
    "nki/examples/tensor_addition: nki_tensor_add",
    f"{SDK_EXAMPLES}/tensor_addition/tensor_addition_nki_kernels.py",
)
def tensor_add(root: Path) -> None:
    a, b = normal(256, 1024), normal(256, 1024)
    agree(
        module(
            root / SDK_EXAMPLES / "tensor_addition/tensor_addition_nki_kernels.py"
        ).nki_tensor_add(a, b),
        a + b,
    )


@case(
    "tutorials/tensor_addition: nki_tensor_add",
    f"{SAMPLES}/tensor_addition/tensor_addition_nki_kernels.py",
)
def tensor_add_grid(root: Path) -> None:
    a, b = normal(256, 1024), normal(256, 1024)
    agree(
        module(root / SAMPLES / "tensor_addition/tensor_addition_nki_kernels.py").nki_tensor_add(
            a, b
        ),
        a + b,
    )


@case(
    "tutorials/tensor_addition: nki_tensor_add_nc2",
    f"{SAMPLES}/tensor_addition/spmd_multiple_nc_tensor_addition_nki_kernels.py",
)
def tensor_add_two_cores(root: Path) -> None:
    a, b = normal(512, 2048), normal(512, 2048)
    file = root / SAMPLES / "tensor_addition/spmd_multiple_nc_tensor_addition_nki_kernels.py"
    agree(module(file).nki_tensor_add_nc2(a, b), a + b)


@case("nki/examples/index-case-1: tensor_split_kernel_", f"{SDK_EXAMPLES}/index-case-1.py")
def split_columns(root: Path) -> None:
    x = normal(4, 5)
    even, odd = module(root / SDK_EXAMPLES / "index-case-1.py").tensor_split_kernel_(x)
    agree(even, x[:, ::2])
    agree(odd, x[:, 1::2])


@case("nki/examples/index-case-3: tensor_maxpool_kernel_", f"{SDK_EXAMPLES}/index-case-3.py")
def max_pool(root: Path) -> None:
    x = normal(4, 6, 8)
    got = module(root / SDK_EXAMPLES / "index-case-3.py").tensor_maxpool_kernel_(x, 2)
    agree(got, x.reshape(4, 3, 2, 4, 2).max(axis=(2, 4)))


@case("nki/examples/layout-pass: tensor_exp_kernel_", f"{SDK_EXAMPLES}/layout-pass.py")
def layout_pass(root: Path) -> None:
    x = normal(128, 512)
    agree(module(root / SDK_EXAMPLES / "layout-pass.py").tensor_exp_kernel_(x), np.exp(x))


@case("contributed/matmul: check_correct", "contributed/matmul.py")
def contributed_matmul(root: Path) -> None:
    found = module(root / "contributed/matmul.py")
    nki = importlib.import_module("neuronxcc.nki")
    a, b = normal(1024, 512), normal(1024, 2048)
    agree(nki.simulate_kernel(nki.jit(found.matmul), a, b), a.T.astype(np.float64) @ b, 1e-2)


def _attentions() -> None:
    file = f"{SAMPLES}/attention_fwd_performance/attention_kernels.py"
    for name in (
        "attn_fwd_v1",
        "attn_fwd_v2",
        "attn_fwd_v3",
        "attn_fwd_v4",
        "attn_fwd_v5",
        "attn_fwd_v6",
        "attn_fwd_v7",
        "attn_fwd_v8",
    ):

        @case(f"{file}: {name}", file)
        def run(root: Path, name: str = name) -> None:
            n = 128 if name in ("attn_fwd_v1", "attn_fwd_v2") else 2048
            q, k, v = normal(128, n), normal(128, n), normal(128, n)
            s = q.T.astype(np.float64) @ k
            p = np.exp(s - s.max(axis=1, keepdims=True))
            agree(
                getattr(module(root / file), name)(q, k, v),
                p / p.sum(axis=1, keepdims=True) @ v.T,
                1e-2,
            )


_attentions()


# -- micro-scaled formats --------------------------------------------------------------------------
def _mx(folder: str) -> None:
    file = f"{folder}/mx_kernels.py"

    def setting(root: Path) -> tuple[Any, Any, Any]:
        os.environ["NEURON_PLATFORM_TARGET_OVERRIDE"] = "trn3"
        return (
            module(root / file),
            module(root / folder / "mx_cpu_utils.py"),
            importlib.import_module("nki.language"),
        )

    for element in ("float8_e5m2", "float4_e2m1fn"):

        @case(f"{file}: offline {element}", file)
        def offline(root: Path, element: str = element) -> None:
            kernels, cpu, nl = setting(root)
            kind = getattr(ml_dtypes, element)
            packed = {"float8_e5m2": nl.float8_e5m2_x4, "float4_e2m1fn": nl.float4_e2m1fn_x4}[
                element
            ]
            _, _, a, a_scale = cpu.generate_stabilized_mx_data(kind, (128, 512))
            _, _, b, b_scale = cpu.generate_stabilized_mx_data(kind, (128, 2048))
            got = kernels.kernel_offline_quantized_mx_matmul(a, a_scale, b, b_scale, packed)
            agree(got, cpu.nc_matmul_mx_golden(a, b, a_scale, b_scale, kind, kind), 5e-2)

    for by_copy in (True, False):

        @case(
            f"{file}: quantized on the device, strided by {'tensor_copy' if by_copy else 'DMA'}",
            file,
        )
        def strided(root: Path, by_copy: bool = by_copy) -> None:
            kernels, cpu, nl = setting(root)
            a, *_ = cpu.generate_stabilized_mx_data(ml_dtypes.float8_e5m2, (512, 128))
            b, *_ = cpu.generate_stabilized_mx_data(ml_dtypes.float8_e5m2, (512, 512))
            half = ml_dtypes.bfloat16
            got = kernels.kernel_copy_strided_quantize_matmul_mx(
                a.astype(half), b.astype(half), nl.float8_e5m2_x4, by_copy
            )
            agree(got, a.T.astype(np.float64) @ b, 5e-2)


_mx("nki/deep-dives/src/mxfp-matmul")
_mx(f"{SAMPLES}/mxfp-matmul")


# -- the library -----------------------------------------------------------------------------------
def library(root: Path, name: str) -> Any:
    sys.path.insert(0, str(root / "src/nkilib_src"))
    return importlib.import_module(f"nkilib.core.{name}")


@case("cumsum", f"{LIBRARY}/core/cumsum/cumsum.py")
def cumsum(root: Path) -> None:
    for shape in ((3, 7), (130, 2100), (2, 3, 50)):
        x = normal(*shape)
        agree(library(root, "cumsum.cumsum").cumsum(x), np.cumsum(x.astype(np.float64), axis=-1))


def _rope() -> None:
    for contiguous in (True, False):

        @case(
            f"RoPE, {'halves' if contiguous else 'even and odd'}",
            f"{LIBRARY}/core/embeddings/rope.py",
        )
        def run(root: Path, contiguous: bool = contiguous) -> None:
            x = normal(64, 2, 3, 128)
            angle = RNG.uniform(0, 6, (32, 2, 128)).astype(np.float32)
            got = library(root, "embeddings.rope").RoPE[2](
                x, np.cos(angle), np.sin(angle), lnc_shard=True, contiguous_layout=contiguous
            )
            c, s = np.cos(angle)[:, :, None], np.sin(angle)[:, :, None]
            first, second = (x[:32], x[32:]) if contiguous else (x[::2], x[1::2])
            turned = first * c - second * s, second * c + first * s
            expected = (
                np.concatenate(turned) if contiguous else np.stack(turned, axis=1).reshape(x.shape)
            )
            agree(got, expected)


_rope()


def _cte() -> None:
    for lnc in (1, 2):
        for causal in (True, False):

            @case(
                f"attention_cte on {lnc} core(s), {'causal' if causal else 'full'}",
                f"{LIBRARY}/core/attention/attention_cte.py",
            )
            def run(root: Path, lnc: int = lnc, causal: bool = causal) -> None:
                half = ml_dtypes.bfloat16
                q, k, v = (
                    normal(1, 256, 64).astype(half),
                    normal(1, 64, 256).astype(half),
                    normal(1, 256, 64).astype(half),
                )
                got = library(root, "attention.attention_cte").attention_cte[lnc](
                    q, k, v, 0.125, causal_mask=causal
                )
                s = q.astype(np.float64) @ k.astype(np.float64) * 0.125
                if causal:
                    s = np.where(np.tril(np.ones((256, 256), bool)), s, -np.inf)
                p = np.exp(s - s.max(-1, keepdims=True))
                agree(got, p / p.sum(-1, keepdims=True) @ v.astype(np.float64), 5e-2)


_cte()


def _tkg() -> None:
    for lnc in (1, 2):
        for positions in (True, False):

            @case(
                f"attention_tkg on {lnc} core(s), mask from {'positions' if positions else 'HBM'}",
                f"{LIBRARY}/core/attention/attention_tkg.py",
            )
            def run(root: Path, lnc: int = lnc, positions: bool = positions) -> None:
                token_generation(root, lnc, positions)


def token_generation(root: Path, lnc: int, positions: bool) -> None:
    """attention_tkg inside a kernel of ours, as it is meant to be used: queries and the new key in
    SBUF."""
    nki, nl = importlib.import_module("nki"), importlib.import_module("nki.language")
    nisa = importlib.import_module("nki.isa")
    tkg, utils = (
        library(root, "attention.attention_tkg"),
        library(root, "attention.attention_tkg_utils"),
    )
    manager, logger = (
        library(root, "utils.allocator").SbufManager,
        library(root, "utils.logging").Logger,
    )
    batch, heads, n, d = 2, 4, 512, 64

    @nki.jit
    def kernel(q: Any, k_new: Any, v_new: Any, k: Any, v: Any, mask: Any, at: Any, cfg: Any) -> Any:
        sbm = manager(0, nl.tile_size.total_available_sbuf_size - 16 * 1024, logger("check"))
        sbm.open_scope()
        out = nl.ndarray((batch, heads, d, 1), dtype=q.dtype, buffer=nl.shared_hbm)
        q_sb = sbm.alloc_stack(q.shape, dtype=q.dtype, buffer=nl.sbuf)
        k_sb = sbm.alloc_stack(k_new.shape, dtype=k_new.dtype, buffer=nl.sbuf)
        nisa.dma_copy(q_sb, q)
        nisa.dma_copy(k_sb, k_new)
        result, _ = tkg.attention_tkg(q_sb, k_sb, v_new, k, v, mask, out, cfg, sbm, None, at)
        sbm.close_scope()
        return result

    half = ml_dtypes.bfloat16
    q, k_new, v_new = (normal(*s).astype(half) for s in ((batch, d, heads), (batch, d), (batch, d)))
    k, v = normal(batch, d, n).astype(half), normal(batch, n, d).astype(half)
    lengths = np.array([300, 77])
    seen = np.arange(n)[:, None] < lengths
    seen[-1] = True  # the new token takes the last place
    cfg = utils.AttnTKGConfig(
        bs=batch,
        q_head=heads,
        s_active=1,
        curr_sprior=n,
        full_sprior=n,
        d_head=d,
        use_pos_id=positions,
        qk_in_sb=True,
    )
    mask = np.broadcast_to(seen[:, :, None, None], (n, batch, heads, 1)).astype(np.uint8)
    got = kernel[lnc](
        np.ascontiguousarray(q.transpose(1, 0, 2)).reshape(d, -1),
        np.ascontiguousarray(k_new.T),
        v_new.reshape(batch, 1, 1, d),
        k.reshape(batch, 1, d, n),
        v.reshape(batch, 1, n, d),
        np.ones((1, batch, heads, 1), np.uint8) if positions else mask,
        lengths[:, None].astype(np.int32) if positions else None,
        cfg,
    )
    keys, rows = k.astype(np.float64), v.astype(np.float64)
    keys[:, :, -1], rows[:, -1] = k_new, v_new
    s = np.where(seen.T[:, None, :], np.einsum("bdh,bdn->bhn", q.astype(np.float64), keys), -np.inf)
    p = np.exp(s - s.max(-1, keepdims=True))
    agree(
        np.asarray(got)[..., 0], np.einsum("bhn,bnd->bhd", p / p.sum(-1, keepdims=True), rows), 0.1
    )


_tkg()


# -- running ---------------------------------------------------------------------------------------
def run_here(name: str, root: Path) -> int:
    """Run one case in this process; 0 if it passes."""
    import nkisim  # noqa: F401  (serves neuronxcc and nki)

    warnings.simplefilter("ignore")
    try:
        CASES[name][1](root)
    except Exception as error:
        print(
            f"{type(error).__name__}: "
            f"{str(error).strip().splitlines()[0] if str(error).strip() else ''}",
            file=sys.stderr,
        )
        return 1
    return 0


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="a checkout of one of the repositories")
    parser.add_argument("--only", default="", help="run only the cases whose name holds this text")
    parser.add_argument("--tests", metavar="GLOB", help="run only these test files of the checkout")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    root = options.path.resolve()
    if options.case:
        return run_here(options.case, root)
    names = [
        name
        for name, (needs, _) in CASES.items()
        if (root / needs).exists() and options.only in name and not options.tests
    ]
    tests, wrong = upstream_tests.check(root, options.tests, options.only)
    if not names and not tests:
        print(
            f"nothing to run in {options.path}: it is not a checkout that this tool knows",
            file=sys.stderr,
        )
        return 2
    failed = 0
    for name in names:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).resolve()), str(root), "--case", name],
            capture_output=True,
            text=True,
            check=False,
        )
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(
            f"{'pass' if done.returncode == 0 else 'FAIL'}  "
            f"{name}" + ("" if done.returncode == 0 else f"\n      {reason}")
        )
        failed += done.returncode != 0
    if names:
        print(f"{len(names) - failed} of {len(names)} kernels and scripts pass")
    return 1 if failed or wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
