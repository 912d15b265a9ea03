"""Students' names in files and on a screen, whatever they hold."""

from __future__ import annotations

import unicodedata

import pytest

from tutorial.classroom.names import file_name, file_names, shown


@pytest.mark.parametrize(
    ("student", "expected"),
    [
        ("../Zoë: a/b", "_.._Zoë__a_b"),
        ("-rf", "_-rf"),
        (".hidden", "_.hidden"),
        ("CON", "_CON"),
        ("aux.x", "_aux.x"),
        ("conrad", "conrad"),
        ("", "_"),
        ("a\nb\0c", "a_b_c"),
    ],
)
def test_a_name_is_safe_as_a_files_name(student, expected):
    assert file_name(student) == expected


@pytest.mark.parametrize("letter", ["a", "é", "漢", "𠀀"])
def test_a_long_name_leaves_room_for_what_follows(letter):
    assert 100 < len(file_name(letter * 255).encode()) <= 120


def test_two_students_never_have_one_file():
    students = ["a!", "a?", "a_-2", "A_", "Zoé", unicodedata.normalize("NFD", "ZOÉ"), "a_", "a!"]
    found = file_names(students)
    assert list(found) == students[:-1]
    alike = {unicodedata.normalize("NFC", name).casefold() for name in found.values()}
    assert len(alike) == len(found)


def test_a_name_does_not_move_a_terminals_cursor():
    assert shown("Zoé\x1b[2Jb\nc\u202ed") == "Zoé?[2Jb?c?d"
    assert len(shown("x" * 300)) == 40
