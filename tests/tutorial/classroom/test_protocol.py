"""Messages of bounded size, whatever comes."""

from __future__ import annotations

import io
import struct

import pytest

from tutorial.classroom import protocol


def message(text: bytes) -> io.BytesIO:
    return io.BytesIO(struct.pack("<Q", len(text)) + text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 900_000,
        b'{"blobs": [' + b"9" * 100_000 + b"]}",
        b'{"blobs": [NaN]}',
        b'{"blobs": [-1]}',
        b'{"blobs": [true]}',
        b'{"blobs": [1e400]}',
        b'{"blobs": {"0": 1}}',
        b"[]",
        b"\xff\xfe",
        b" " * ((1 << 20) + 1),
    ],
)
def test_what_is_no_message_is_refused(text):
    with pytest.raises(protocol.Broken):
        protocol.receive(message(text))


@pytest.mark.parametrize(
    "entry",
    [
        {"shape": [1 << 27] * 8, "dtype": "float32"},
        {"shape": [1, 2], "dtype": "object"},
        {"shape": [-1], "dtype": "float32"},
        {"shape": [1.0], "dtype": "float32"},
        {"shape": [1] * 9, "dtype": "float32"},
        {"shape": [4]},
    ],
)
def test_an_array_that_is_not_what_its_message_says_is_refused(entry):
    with pytest.raises(protocol.Broken):
        protocol.arrays([entry], [b"\0" * 16])


def test_texts_that_no_file_can_hold_become_ones_that_every_file_can():
    said = {"a": ["\ud800x", "\x1b[2J", "\u202etxt.exe", "é, 漢, line\n\tby line"], "b": 1.5}
    expected = {"a": ["?x", "?[2J", "?txt.exe", "é, 漢, line\n\tby line"], "b": 1.5}
    assert protocol.printable(said) == expected
