"""A server process in local mode with the official client on it, and what holds for each of its answers."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from anyio.from_thread import start_blocking_portal
from jsonschema import Draft202012Validator
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from ddb_mcp.service.results import NOTICE
from tests.support.forking import DDB_MCP, Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from mcp_types import CallToolResult, TextContent, Tool

PREFIX = "deploy#local"
FENCED = re.compile(r"<(stored-data-[0-9a-f]{16})>\n([^\n]*)\n</\1>")
STORED = ("item", "items", "parts", "groups", "dropped", "updated", "failed", "sample", "hint", "warnings")


def pk(suffix: str) -> str:
    return f"{PREFIX}#{suffix}"


@dataclass(frozen=True)
class Answer:
    """The answer to one call. `boundary` is the fence's, None where there is no fence."""

    text: str
    boundary: str | None
    body: dict[str, Any]
    is_error: bool

    @property
    def error(self) -> dict[str, Any]:
        assert self.is_error, self.body
        found: dict[str, Any] = self.body["error"]
        return found

    @property
    def result(self) -> dict[str, Any]:
        assert not self.is_error, self.body
        return self.body


def read(result: CallToolResult) -> Answer:
    """The answer, once both channels are found to carry the same facts in the form that the contract gives them."""
    assert len(result.content) == 1
    content: TextContent = result.content[0]  # type: ignore[assignment]
    assert content.type == "text"
    text = content.text
    fence = FENCED.fullmatch(text)
    line = fence[2] if fence else text
    assert len(text.splitlines()) == (3 if fence else 1)  # of any kind of line break
    body = json.loads(line)
    if result.is_error:
        assert result.structured_content is None
        assert body.keys() == {"error"}
        error = body["error"]
        assert error.keys() - {"item"} == {"code", "message", "next", "retryable"}
        assert error["message"]
        assert error["next"]
        assert bool(fence) is ("item" in error)
    else:
        assert list(body.items()) == list((result.structured_content or {}).items())
        assert bool(fence) is any(body.get(name) for name in STORED) is ("notice" in body)
        if fence:
            assert next(iter(body)) == "notice"
            assert body.pop("notice") == NOTICE
    return Answer(text, fence[1] if fence else None, body, bool(result.is_error))


class Server:
    """The server on one file.

    Args:
        file: the SQLite file; what the server logs goes beside it.
        settings: further environment variables.
        arguments: of the command line.
    """

    def __init__(self, file: Path, *arguments: str, **settings: str) -> None:
        self._log = file.with_name(f"log-{id(self)}")
        self.budget = int(settings.get("DDB_MCP_MAX_RESULT_BYTES", 32768))
        self._command = StdioServerParameters(
            command=DDB_MCP, args=list(arguments), env={"DDB_MCP_LOCAL_PATH": str(file), **settings}
        )
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            self._portal = self._stack.enter_context(start_blocking_portal())
            log = self._stack.enter_context(self._log.open("w"))
            transport = stdio_client(self._command, errlog=log)
            with pytest.MonkeyPatch.context() as patch:  # the client does not say which process it started
                patch.setattr(subprocess, "Popen", self._start)
                self.client = self._stack.enter_context(
                    self._portal.wrap_async_context_manager(Client(transport, read_timeout_seconds=300))
                )
            listed = self._portal.call(self.client.list_tools)
            self.tools: dict[str, Tool] = {tool.name: tool for tool in listed.tools}
            self._schemas = {name: Draft202012Validator(tool.output_schema or {}) for name, tool in self.tools.items()}
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def _start(self, *given: Any, **named: Any) -> Process:
        process = Process(*given, **named)
        self.pid = process.pid
        return process

    @property
    def log(self) -> str:
        return self._log.read_text()

    def start(self, tool: str, /, **arguments: Any) -> Future[Answer]:
        return self._portal.start_task_soon(partial(self._call, tool, arguments))

    def call(self, tool: str, /, **arguments: Any) -> Answer:
        return self.start(tool, **arguments).result()

    async def _call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        result = await self.client.call_tool(tool, arguments)
        answer = read(result)
        if not answer.is_error:
            self._schemas[tool].validate(answer.body)
        return answer

    def result(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        return self.call(tool, **arguments).result

    def fails(self, code: str, tool: str, /, **arguments: Any) -> dict[str, Any]:
        error = self.call(tool, **arguments).error
        assert error["code"] == code, error
        return error

    def put_all(self, items: list[dict[str, Any]]) -> None:
        for start in range(0, len(items), 100):
            written = self.result("put", items=items[start : start + 100])
            assert written == {"written": len(items[start : start + 100]), "failed": []}

    def walk(self, tool: str, /, **arguments: Any) -> Iterator[Answer]:
        """Every page of a listing."""
        cursor: dict[str, str] = {}
        while True:
            answer = self.call(tool, **arguments, **cursor)
            yield answer
            if answer.result["complete"]:
                return
            cursor = {"cursor": answer.result["cursor"]}

    def everything(self) -> list[dict[str, Any]]:
        """Every item of the deployment."""
        return [item for answer in self.walk("scan", limit=1000) for item in answer.result["items"]]
