"""The seven tools as models see them. Their arguments and results are defined in `arguments` and `results`."""

from functools import cache
from typing import Any

from mcp_types import Tool, ToolAnnotations
from pydantic import TypeAdapter

from ddb_mcp.server import mcp_apps
from ddb_mcp.service.arguments import InputSchema
from ddb_mcp.service.operations import OPERATIONS, Operation


@cache
def list_tools(*, read_only: bool, with_app: bool = False) -> list[Tool]:
    """Return the tools as `tools/list` publishes them.

    Args:
        read_only: leave out those that write.
        with_app: name the page that shows their results, for a client that shows pages.
    """
    chosen = [operation for operation in OPERATIONS if not (read_only and operation.writes)]
    return [_make_tool(operation, with_app and operation.name in mcp_apps.TOOLS) for operation in chosen]


def _make_tool(operation: Operation, with_app: bool) -> Tool:
    writes = operation.writes
    return Tool(
        name=operation.name,
        title=operation.title,
        description=operation.description,
        input_schema=operation.arguments.model_json_schema(schema_generator=InputSchema),
        output_schema=TypeAdapter(operation.result).json_schema(schema_generator=_OutputSchema),
        annotations=ToolAnnotations(
            title=operation.title,
            read_only_hint=not writes,
            destructive_hint=operation.destructive,
            idempotent_hint=operation.idempotent,
            open_world_hint=False,
        ),
        _meta=mcp_apps.TOOL_META if with_app else None,
    )


class _OutputSchema(InputSchema):
    """Types only. The tools' descriptions and the skill say what the members mean."""

    def generate(self, schema: Any, mode: Any = "validation") -> dict[str, Any]:
        return {name: value for name, value in super().generate(schema, mode).items() if name != "description"}
