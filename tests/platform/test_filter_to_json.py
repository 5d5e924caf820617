"""Filters as JSON again, for platforms that narrow themselves: what is parsed from it are the same clauses."""

from __future__ import annotations

from typing import Any

import pytest

from ddb_mcp.core.filters import filter_to_json, parse_filter

FILTERS: list[dict[str, Any]] = [
    {"status": "open", "total": {"gt": 10, "le": 99.5}, "address.city": {"begins_with": "Par"}},
    {"gone": {"exists": False}, "there": {"exists": True}},
    {"a.b[0][12].c": {"in": [1, "x", None, True, {"SS": ["a"]}]}, "n": {"between": [1, {"N": "1e30"}]}},
    {
        "map": {"eq": {"x": {"N": "5"}}},
        "typed": {"eq": {"M": {"N": {"S": "x"}}}},
        "s": {"eq": {"S": "x"}},
        "list": [1, [2, {"x": {}}]],
    },
    {"tags": {"contains": "x"}, "binary": {"ne": {"B": "aGk="}}, "null": None, "n": {"N": "5"}},
    {"a[0].b": {"gt": 1}, "a[10].b": {"gt": 2}, "a[0]": {"contains": {"M": {"x": {"N": "3"}}}}},
    {"pk": {"begins_with": "deploy#x"}, "naïve ключ": "é"},
]


@pytest.mark.parametrize("given", FILTERS, ids=range(len(FILTERS)))
def test_there_and_back(given: dict[str, Any]) -> None:
    clauses = parse_filter(given, "filter")
    assert parse_filter(filter_to_json(clauses), "filter") == clauses
