"""The seven tools as models see them. What they take and return is defined in `arguments` and `results`."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from mcp_types import Tool, ToolAnnotations
from pydantic import TypeAdapter

from ddb_mcp.service.arguments import (
    Arguments,
    DeleteArguments,
    GetArguments,
    InfoArguments,
    InputSchema,
    ProvisionArguments,
    PutArguments,
    QueryArguments,
    ScanArguments,
)
from ddb_mcp.service.operations import WRITES
from ddb_mcp.service.results import DeleteResult, GetResult, InfoResult, PageResult, ProvisionResult, PutResult


@dataclass(frozen=True)
class _Definition:
    name: str
    title: str
    description: str
    arguments: type[Arguments]
    result: type
    destructive: bool = False


DEFINITIONS = (
    _Definition(
        "provision",
        "Provision the table",
        "Make the table (or local file) if it is missing and return table name, prefix, mode and instructions. "
        "Call it first in a new project; safe to repeat.",
        ProvisionArguments,
        ProvisionResult,
    ),
    _Definition(
        "info",
        "Show the deployment",
        "Table name, prefix, mode, limits and instructions; changes nothing. Every pk starts with the prefix.",
        InfoArguments,
        InfoResult,
    ),
    _Definition(
        "get",
        "Get one item",
        "Read one item by its full key. For several items under one pk use query.",
        GetArguments,
        GetResult,
    ),
    _Definition(
        "put",
        "Put items",
        "Store an item, or up to 100 items. Replaces the whole stored item and returns attributes that are gone in "
        "`dropped`; with merge, changes only the attributes given. create_only and expect make it conditional.",
        PutArguments,
        PutResult,
        destructive=True,
    ),
    _Definition(
        "delete",
        "Delete items",
        "Delete one item by its key and return it, or delete up to 100 keys.",
        DeleteArguments,
        DeleteResult,
        destructive=True,
    ),
    _Definition(
        "query",
        "Query one partition",
        "List items of one pk in sort-key order, narrowed by sk_prefix or by sk_from and sk_to. Prefer it to scan. "
        "While complete is false, call again with cursor.",
        QueryArguments,
        PageResult,
    ),
    _Definition(
        "scan",
        "Scan the deployment",
        "List items across partition keys; reads everything this deployment has. Start with view: summary to see what "
        "there is; use query once the pk is known. While complete is false, call again with cursor.",
        ScanArguments,
        PageResult,
    ),
)


@cache
def tools(*, read_only: bool) -> list[Tool]:
    """The tools as `tools/list` publishes them; those that write are left out of a read-only server."""
    return [_tool(definition) for definition in DEFINITIONS if not (read_only and definition.name in WRITES)]


def _tool(definition: _Definition) -> Tool:
    writes = definition.name in WRITES
    return Tool(
        name=definition.name,
        title=definition.title,
        description=definition.description,
        input_schema=definition.arguments.model_json_schema(schema_generator=InputSchema),
        output_schema=_output_schema(definition.result),
        annotations=ToolAnnotations(
            title=definition.title,
            read_only_hint=not writes,
            destructive_hint=definition.destructive,
            idempotent_hint=True,
            open_world_hint=False,
        ),
    )


class _OutputSchema(InputSchema):
    """Types only: what the members mean is told by the tools' descriptions and by the skill."""

    def generate(self, schema: Any, mode: Any = "validation") -> dict[str, Any]:
        return {name: value for name, value in super().generate(schema, mode).items() if name != "description"}


def _output_schema(result: type) -> dict[str, Any]:
    return TypeAdapter(result).json_schema(schema_generator=_OutputSchema)
