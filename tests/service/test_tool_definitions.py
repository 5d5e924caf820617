"""What models see of the tools, as a snapshot: each change shows in the diff of snapshots/tools.json.

`python -m tests.service.test_tool_definitions` writes the snapshot anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ddb_mcp.server.tools import list_tools
from ddb_mcp.service.operations import BY_NAME

SNAPSHOT = Path(__file__).parent / "snapshots" / "tools.json"
READS = ["info", "get", "query", "scan"]
ALL = ["provision", "info", "get", "put", "delete", "query", "scan"]


def published(*, read_only: bool = False) -> list[dict[str, Any]]:
    return [tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in list_tools(read_only=read_only)]


TOOLS = {tool["name"]: tool for tool in published()}


def schemas(found: Any) -> Iterator[dict[str, Any]]:
    """Every schema inside one, itself included; what `properties` maps are names, no keywords."""
    if isinstance(found, list):
        for entry in found:
            yield from schemas(entry)
    if not isinstance(found, dict):
        return
    yield found
    for keyword, value in found.items():
        yield from schemas(list(value.values()) if keyword in ("properties", "$defs") else value)


def test_the_definitions_are_those_of_the_snapshot() -> None:
    assert published() == json.loads(SNAPSHOT.read_text()), "run python -m tests.service.test_tool_definitions"


def test_names() -> None:
    assert list(TOOLS) == ALL
    assert [tool["name"] for tool in published(read_only=True)] == READS


def test_what_models_see_takes_at_most_6000_bytes() -> None:
    seen = [{name: tool[name] for name in ("name", "description", "inputSchema")} for tool in TOOLS.values()]
    assert len(json.dumps(seen, separators=(",", ":"), ensure_ascii=False).encode()) <= 6000


@pytest.mark.parametrize("name", ALL)
class TestEachTool:
    def test_has_a_title_a_description_and_all_annotations(self, name: str) -> None:
        tool = TOOLS[name]
        assert tool["title"]
        assert 40 < len(tool["description"]) < 400
        hints = tool["annotations"]
        assert hints.pop("title") == tool["title"]
        assert hints == {
            "readOnlyHint": not BY_NAME[name].writes,
            "destructiveHint": name in ("put", "delete"),
            "idempotentHint": name != "put",  # with add it is not
            "openWorldHint": False,
        }

    def test_has_an_input_schema_that_every_host_takes(self, name: str) -> None:
        schema = TOOLS[name]["inputSchema"]
        Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        for inner in schemas(schema):
            assert not {"anyOf", "oneOf", "allOf", "$ref", "$defs", "title", "default"} & inner.keys(), inner
            assert inner.get("type") in ("object", "array", "string", "integer", "boolean"), inner

    def test_takes_neither_a_table_nor_a_prefix_of_its_own(self, name: str) -> None:
        properties = TOOLS[name]["inputSchema"].get("properties", {})
        assert not {"table", "tableName", "prefix", "region"} & properties.keys()

    def test_has_an_output_schema_of_an_object(self, name: str) -> None:
        schema = TOOLS[name]["outputSchema"]
        Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object"
        assert not any("title" in inner and not isinstance(inner["title"], dict) for inner in schemas(schema))

    def test_what_it_requires_is_required_by_name(self, name: str) -> None:
        required = {"get": ["pk", "sk"], "query": ["pk"]}
        assert TOOLS[name]["inputSchema"].get("required", []) == required.get(name, [])


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(published(), indent=2, ensure_ascii=False) + "\n")
