"""Start the server over stdio with a real MCP client, and call all seven tools.

`make demo` runs it. Each line after an arrow is what an agent sees.
"""

import io
import json
import os
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import anyio
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

PREFIX = "deploy#demo"
SHOWN = 1200


class Walk:
    """Calls tools and prints both sides."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        print(f"\n  {tool} {json.dumps(arguments, ensure_ascii=False)}")
        result = await self._client.call_tool(tool, arguments)
        (block,) = result.content
        assert block.type == "text"
        text = block.text if len(block.text) <= SHOWN else f"{block.text[:SHOWN]}… ({len(block.text)} characters)"
        for line in text.splitlines():
            folded = textwrap.wrap(line, 110, break_on_hyphens=False) or [""]
            print("\n".join(f"  {'✗' if result.is_error else '→'} {part}" for part in folded))
        return result.structured_content or {}


def title(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = StdioServerParameters(
            command=str(Path(sys.executable).with_name("ddb-mcp")),
            args=["--mode", "local", "--dynamodb-prefix", PREFIX, "--local-path", str(Path(folder, "demo.sqlite3"))],
        )
        title(f"Starting: ddb-mcp {' '.join(server.args[:4])} …")
        started = time.perf_counter()
        async with Client(stdio_client(server)) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            print(f"  ready in {time.perf_counter() - started:.1f} s with {', '.join(names)}")
            resources = (await client.list_resources()).resources
            print(f"  and the skill {resources[0].uri} ({resources[0].size} bytes)")
            await walk(Walk(client))


async def walk(agent: Walk) -> None:
    user = f"{PREFIX}#user#7"

    title("1. provision: create the table, and tell the agent its prefix")
    await agent.call("provision")

    title("2. put: a user, an order, a session that expires, and some posts in one call")
    profile = {"pk": user, "sk": "PROFILE", "name": "Ada", "roles": {"SS": ["admin", "author"]}, "balance": 12.5}
    await agent.call("put", item=profile, create_only=True)
    order_number = {"N": "12345678901234567890"}
    await agent.call("put", item={"pk": user, "sk": "ORDER#2026-11-01", "number": order_number, "total": 99.95})
    await agent.call("put", item={"pk": f"{PREFIX}#session#x1", "sk": "SESSION", "ttl": int(time.time()) + 3600})
    posts = [
        {"pk": user, "sk": f"POST#2026-11-{day:02}", "title": f"Day {day}", "likes": day * 3} for day in range(1, 8)
    ]
    await agent.call("put", items=posts)

    title("3. get: exact values, including big numbers")
    await agent.call("get", pk=user, sk="ORDER#2026-11-01")

    title("4. query: one page, then the next by its cursor")
    page = await agent.call("query", pk=user, sk_prefix="POST#", limit=4, attributes=["title"])
    await agent.call("query", pk=user, sk_prefix="POST#", limit=4, attributes=["title"], cursor=page["cursor"])

    title("   query: a filter, then one that matches nothing and the reason")
    await agent.call("query", pk=user, filter={"likes": {"ge": 18}})
    await agent.call("query", pk=user, filter={"likes": {"ge": "18"}})

    title("5. scan: an overview of all items")
    await agent.call("scan", view="summary")

    await guards(agent, user)

    title("7. delete returns the deleted item; info changes nothing")
    await agent.call("delete", pk=user, sk="POST#2026-11-01")
    await agent.call("info")


async def guards(agent: Walk, user: str) -> None:
    title("6. put with merge and expect: change one attribute unless somebody else has changed it")
    await agent.call("put", item={"pk": user, "sk": "PROFILE", "balance": 20}, merge=True, expect={"balance": 12.5})
    await agent.call("put", item={"pk": user, "sk": "PROFILE", "balance": 30}, merge=True, expect={"balance": 12.5})

    title("   Every tool refuses another deployment's key")
    await agent.call("get", pk="deploy#other#user#7", sk="PROFILE")
    await agent.call("put", item={"pk": "user#7", "sk": "PROFILE"})


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without arrows still shows the rest
    try:
        anyio.run(main)
    except* KeyboardInterrupt:
        sys.exit(130)
    except* BrokenPipeError:  # `make demo | head`: the reader is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the interpreter's exit
