"""How many members JSON has, told from its text: `has_more_members`."""

from __future__ import annotations

import json

import pytest

from ddb_mcp.core import limits
from ddb_mcp.core.text import exceeds_members


@pytest.mark.parametrize(
    "inert",
    ["", ',[{"\\', "x" * (limits.LOOP_BYTES - 3) + ',,"', '\\"' * limits.LOOP_BYTES, "\\" * (limits.LOOP_BYTES + 1)],
    ids=range(5),
)
def test_strings_are_no_members(inert: str) -> None:
    """Also where a string or an escape stands at the end of a piece."""
    text = json.dumps({inert: [inert * 3, {"a": 1, "b": inert}]})
    marks = 5  # { [ , { ,
    assert exceeds_members(text, marks - 1)
    assert not exceeds_members(text, marks)


def test_a_string_without_an_end_is_looked_at_once() -> None:
    """A pattern that tries each quote anew would take hours for this."""
    assert not exceeds_members('"' + '\\",' * 1_000_000, 1000)
