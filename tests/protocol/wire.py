"""A server process spoken to in raw lines, where the official client is too well-behaved."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

from tests.support.forking import DDB_MCP as _DDB_MCP
from tests.support.forking import TOY as _TOY
from tests.support.forking import Process
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DDB_MCP = (_DDB_MCP,)
TOY = (sys.executable, "-m", _TOY, "stdio")

ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
HANDSHAKE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


def clean_environment(**settings: str) -> dict[str, str]:
    """This process's environment without settings of ours or of AWS, plus `settings`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DDB_MCP_", "DYNAMODB_", "AWS_"))}
    return {**kept, **settings}


@contextlib.contextmanager
def listening(command: Sequence[str], **settings: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The URL that the server says it listens on, and its process."""
    with Process(command, stderr=subprocess.PIPE, env=clean_environment(**settings), text=True) as process:
        assert process.stderr is not None
        try:
            said = process.stderr.readline()
            assert said.startswith("ddb-mcp: listening on "), said
            yield said.split()[-1], process
        finally:
            process.kill()


class Wire:
    """A process, its lines in and out, and what it wrote to stderr."""

    def __init__(self, command: Sequence[str], settings: Mapping[str, str] | None = None) -> None:
        self.process = Process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(**(settings or {})),
        )
        self.errors = ""
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._readers = [threading.Thread(target=self._read_lines), threading.Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read().decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def send_line(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def send(self, method: str, params: Mapping[str, Any] | None = None, request: int | str | None = None) -> None:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if request is not None:
            message["id"] = request
        if params is not None:
            message["params"] = params
        self.send_line(json.dumps(message).encode())

    def receive(self) -> dict[str, Any]:
        """The next message. Fails at the end of the output, and on a line that is none."""
        line = self._lines.get(timeout=PATIENCE)
        assert line is not None, "the server closed its output"
        message: dict[str, Any] = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        return message

    def rest(self) -> list[dict[str, Any]]:
        """The messages up to the end of the output."""
        messages = []
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            messages.append(json.loads(line))
        return messages

    def ask(self, method: str, params: Mapping[str, Any] | None = None, request: int | str = 1) -> dict[str, Any]:
        """The answer to a request. Fails if another message comes first."""
        self.send(method, params, request)
        answer = self.receive()
        assert answer["id"] == request
        return answer

    def shake_hands(self) -> dict[str, Any]:
        """Opens a connection of the handshake era; returns the result of `initialize`."""
        answer = self.ask("initialize", HANDSHAKE, "handshake")
        self.send("notifications/initialized")
        result: dict[str, Any] = answer["result"]
        return result

    def call(self, tool: str, request: int | str = 1, **arguments: Any) -> dict[str, Any]:
        return self.ask("tools/call", {"name": tool, "arguments": arguments}, request)

    def start_call(self, tool: str, request: int | str, **arguments: Any) -> None:
        self.send("tools/call", {"name": tool, "arguments": arguments}, request)

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait(self) -> int:
        return self.process.wait(PATIENCE)
