"""Text of results: what it costs to measure, escape and cut it, counted in calls and characters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ddb_mcp.core import text

CHARACTERS = ["a", "é", '"', "\0", "\x7f", "\x85", "\u2028", "\U000e0041", "\ud800", "😀"]


@pytest.fixture
def dumped(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The values that are made JSON from now on."""
    values: list[Any] = []
    text.escape_controls("\x85")  # makes the table of escapes
    dumps = json.dumps

    def recorded(value: Any, **options: Any) -> str:
        values.append(value)
        return dumps(value, **options)

    monkeypatch.setattr(json, "dumps", recorded)
    return values


@pytest.mark.parametrize("character", CHARACTERS)
def test_a_text_is_measured_in_one_piece(dumped: list[Any], character: str) -> None:
    assert text.count_bytes(character * 10_000) == 2 + 10_000 * (text.count_bytes(character) - 2)
    assert len(dumped) == 2


@pytest.mark.parametrize("character", CHARACTERS)
def test_a_text_is_cut_without_measuring_it_again_and_again(dumped: list[Any], character: str) -> None:
    each = text.count_bytes(character) - 2
    for room in (0, 1, 2, 2 + each, 5_000, 100_000):
        dumped.clear()
        cut = text.truncate(character * 400_000, room)
        length, measured = len(cut), sum(map(len, dumped))
        assert length == max(0, room - 2) // each
        assert measured <= length + 12 * 1024
        assert text.count_bytes(text.shorten(character * 400_000, room)) <= max(room, text.count_bytes("…"))


def test_each_character_that_steers_is_escaped_as_json_escapes_it() -> None:
    for code in (0, 0x1F, 0x7F, 0x9F, 0x061C, 0x200E, 0x200F, 0x2028, 0x202E, 0x2066, 0x2069, 0xE0000, 0xE0FFF):
        assert text.escape_controls(f"a{chr(code)}b") == json.dumps(f"a{chr(code)}b")[1:-1]
    for code in (0x20, 0x7E, 0xA0, 0x200D, 0x2027, 0x202F, 0x2065, 0x206A, 0xE1000):
        assert text.escape_controls(chr(code)) == chr(code)
