"""Tensors that the kernel places itself: room that is used again, and reads of what was written
over."""

from __future__ import annotations

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from .kernels import on_tiles, refused, tile, values

X = values(128, 64)


def placed(shape, partition, byte, name="", buffer=nl.sbuf):
    return nl.ndarray(shape, dtype=nl.float32, buffer=buffer, name=name, address=(partition, byte))


def test_a_tensor_takes_the_room_of_one_that_is_used_up():
    def body(t):
        first, second = placed((128, 64), 0, 0), placed((128, 64), 0, 0)
        out = tile((128, 64))
        nisa.activation(first, nl.exp, t)
        nisa.tensor_copy(out, first)
        nisa.activation(second, nl.tanh, t)
        nisa.tensor_tensor(out, out, second, nl.add)
        return out

    np.testing.assert_allclose(on_tiles(body, X), np.exp(X) + np.tanh(X), rtol=1e-5)


@pytest.mark.parametrize(("byte", "partition"), [(0, 0), (252, 0), (0, 32)])
def test_a_read_of_what_another_was_written_over_is_refused(byte, partition):
    def body(t):
        first, second = (
            placed((128, 64), 0, 0, "first"),
            placed((32, 64), partition, byte, "second"),
        )
        nisa.tensor_copy(first, t)
        nisa.memset(second, 1.0)
        return nl.exp(first)

    error = refused(body, X, rule="address-overlap")
    assert "'first' is read after 'second' was written over it" in error.headline


def test_tensors_side_by_side_do_not_disturb_each_other():
    def body(t):
        left, right = placed((128, 64), 0, 0), placed((128, 64), 0, 256)
        nisa.tensor_copy(left, t)
        nisa.memset(right, 1.0)
        return nl.add(left, right)

    np.testing.assert_allclose(on_tiles(body, X), X + 1)


def test_only_the_part_that_is_read_counts():
    def body(t):
        first, second = placed((128, 64), 0, 0), placed((128, 16), 0, 0)
        nisa.tensor_copy(first, t)
        nisa.memset(second, 1.0)
        return nl.exp(first[:, 16:])

    np.testing.assert_allclose(on_tiles(body, X), np.exp(X[:, 16:]), rtol=1e-6)


def test_psum_banks_are_watched_too():
    def body(t):
        first, second = (placed((64, 128), 0, 0, buffer=nl.psum) for _ in range(2))
        nisa.nc_transpose(first, t)
        nisa.nc_transpose(second, t)
        return nl.copy(first)

    refused(body, X, rule="address-overlap")


@pytest.mark.parametrize(
    ("shape", "address", "rule"),
    [
        ((128, 64), (0, 224 * 1024 - 128), "sbuf-capacity"),
        ((128, 64), (64, 0), "partition-limit"),
        ((64, 64), (0, -4), "sbuf-capacity"),
        ((64, 64), 0, "argument"),
    ],
)
def test_a_place_beyond_the_memory_is_refused(shape, address, rule):
    refused(
        lambda t: nl.ndarray(shape, dtype=nl.float32, buffer=nl.sbuf, address=address), X, rule=rule
    )


@pytest.mark.parametrize("byte", [4, 1024, 2046])
def test_a_tensor_in_psum_is_placed_where_a_bank_begins(byte):
    def body(t):
        first = placed((128, 64), 0, byte, buffer=nl.psum)
        nisa.tensor_copy(first, t)
        return first

    error = refused(body, X, rule="psum-address")
    assert f"byte {byte}" in error.headline and "2048" in str(error.limit)


def test_a_tensor_that_was_only_placed_is_still_without_a_value():
    def body(t):
        first, second = placed((128, 64), 0, 0), placed((128, 64), 0, 0)
        nisa.memset(first, 1.0)
        return nl.exp(second)

    refused(body, X, rule="uninitialized-read")
