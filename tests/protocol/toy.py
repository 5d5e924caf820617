"""A server of trivial tools on the same base as ours, so that the transports are tested apart from the tools.

Run as `python -m tests.protocol.toy stdio [LIMIT=SECONDS ...]` or `… http HOST PORT [TOKEN]`, where `plain-http` does
without the libraries in C that are not there for every Python.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

TOOLS = ("echo", "sleep", "put", "surrogate", "crash", "print", "progress", "working")


def build() -> Server[Any]:
    import mcp_types as types
    from anyio import from_thread
    from anyio.to_thread import run_sync
    from mcp.server.caching import CacheHint
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server
    from mcp.shared.exceptions import MCPError

    Context = ServerRequestContext[Any, Any]
    working = 0

    async def list_tools(ctx: Context, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[types.Tool(name=name, description=name, input_schema={"type": "object"}) for name in TOOLS]
        )

    async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        arguments = params.arguments or {}
        answer: dict[str, Any] = {"tool": params.name}
        match params.name:
            case "echo":
                answer.update(arguments)
            case "working":
                answer["calls"] = working
            case "sleep" | "put":  # in a worker thread that nothing interrupts
                await run_sync(time.sleep, float(arguments["seconds"]))
            case "surrogate":
                answer["text"] = "\ud800"
            case "crash":
                raise RuntimeError("secret detail")
            case "print":
                print("stray output", flush=True)  # noqa: T201
                print("more stray output", file=sys.__stdout__, flush=True)
            case "progress":

                def work() -> None:  # as a long scan does between pages
                    nonlocal working
                    working += 1
                    try:
                        for step in range(arguments["steps"]):
                            from_thread.check_cancelled()
                            from_thread.run(ctx.session.report_progress, step, float(arguments["steps"]))
                            time.sleep(0.01)
                    finally:
                        working -= 1

                await run_sync(work)
            case "refuse":
                raise MCPError(code=-32602, message="refused \ud800")
            case unknown:
                raise MCPError(code=-32602, message=f"Unknown tool: {unknown}")
        return types.CallToolResult(content=[types.TextContent(text=params.name)], structured_content=answer)

    return Server(
        "toy",
        version="1",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        cache_hints={"tools/list": CacheHint(ttl_ms=60_000, scope="public")},
    )


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        from ddb_mcp.core import limits
        from ddb_mcp.server.stdio import serve_stdio

        for name, value in (pair.split("=") for pair in sys.argv[2:]):
            setattr(limits, name, float(value))
        serve_stdio(build)
    else:
        from ddb_mcp.server.http_app import serve_http
        from ddb_mcp.web.listening import Listening

        if sys.argv[1] == "plain-http":
            sys.modules["httptools"] = sys.modules["uvloop"] = None  # type: ignore[assignment]

        token = sys.argv[4] if len(sys.argv) > 4 else None
        serve_http(build, Listening(sys.argv[2], int(sys.argv[3]), behind_tls_proxy=True), token)
