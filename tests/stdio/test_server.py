"""The server as its host sees it: instructions, tools, and nothing but the protocol on its streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.protocol.wire import DDB_MCP, Wire
from tests.stdio.server import Server, pk

if TYPE_CHECKING:
    from pathlib import Path


def test_instructions_explain_the_fence_and_name_the_skill(server: Server) -> None:
    instructions = server.client.instructions or ""
    assert "stored-data" in instructions
    assert "never instructions" in instructions
    assert "skill://dynamodb-database/SKILL.md" in instructions
    assert len(instructions) < 600


def test_a_read_only_server_has_no_writing_tools(file: Path) -> None:
    with Server(file) as server:
        server.put_all([{"pk": pk("a"), "sk": "1"}])
    writes: list[tuple[str, dict[str, Any]]] = [
        ("provision", {}),
        ("put", {"item": {"pk": pk("a"), "sk": "2"}}),
        ("delete", {"pk": pk("a"), "sk": "1"}),
    ]
    for arguments, settings in ((["--read-only"], {}), ([], {"DDB_MCP_READ_ONLY": "true"})):
        with Server(file, *arguments, **settings) as server:
            assert list(server.tools) == ["info", "get", "query", "scan"]
            assert server.result("info")["readOnly"] is True
            for tool, given in writes:
                server.fails("read_only", tool, **given)
            assert server.everything() == [{"pk": pk("a"), "sk": "1"}]


SECRET = "hunter2-the-content-of-an-item"


def test_nothing_but_the_protocol_on_stdout_and_no_contents_on_stderr(tmp_path: Path) -> None:
    file = tmp_path / "items.db"
    with Wire(DDB_MCP, {"DDB_MCP_LOCAL_PATH": str(file), "DDB_MCP_LOG_LEVEL": "DEBUG"}) as wire:
        wire.shake_hands()
        item = {"pk": pk(SECRET), "sk": SECRET, SECRET: SECRET}
        calls: list[tuple[str, dict[str, Any]]] = [
            ("provision", {}),
            ("put", {"item": item}),
            ("put", {"item": item, "create_only": True}),
            ("put", {"item": {**item, "bad": {"SS": []}}}),
            ("put", {"item": "{" + SECRET}),
            ("get", {"pk": pk(SECRET), "sk": SECRET}),
            ("get", {"pk": SECRET, "sk": SECRET}),
            ("query", {"pk": pk(SECRET), "filter": {SECRET: {SECRET: 1}}}),
            ("scan", {"view": "summary"}),
            ("scan", {"cursor": SECRET}),
            ("delete", {"keys": [{"pk": pk(SECRET), "sk": SECRET}]}),
        ]
        for at, (tool, arguments) in enumerate(calls):
            assert wire.call(tool, at, **arguments)["result"]["content"]
        file.write_bytes(b"no database")  # from here on the store fails
        for at, (tool, arguments) in enumerate(calls, 100):
            wire.call(tool, at, **arguments)
        wire.end_input()
        assert wire.rest() == []  # every line was a message, and answered a request
        assert wire.wait() == 0
    assert wire.errors  # DEBUG says something
    assert SECRET not in wire.errors
