"""`ddb-mcp doctor` in local mode says whether the app reaches the file."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from ddb_mcp.cli.endpoint import describe_endpoint
from ddb_mcp.config.resolve import resolve_local
from tests.endpoint.support import serving
from tests.support.commands import run_command
from tests.support.engines import environment

if TYPE_CHECKING:
    from pathlib import Path

from ddb_mcp.cli import endpoint as endpoint_module
from tests.support.engines import Engine


def doctor(file: Path, address: str) -> str:
    settings = {"DDB_MCP_MODE": "local", "DDB_MCP_LOCAL_PATH": str(file), "AWS_ENDPOINT_URL_DYNAMODB": address}
    done = run_command("doctor", environment=environment(**settings))
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "endpoint for the app" in line]
    return line


def test_an_endpoint_over_this_file(tmp_path: Path, endpoint: Engine) -> None:
    file = tmp_path / "items.sqlite3"
    assert run_command("call", "provision", environment=environment(DDB_MCP_LOCAL_PATH=str(file))).returncode == 0
    with serving(file, DYNAMODB_PREFIX="deploy#local") as engine:
        assert "ok" in doctor(file, engine.endpoint)
        assert "serves this file" in doctor(file, engine.endpoint)
    assert "`ddb-mcp endpoint` starts it" in doctor(file, engine.endpoint)
    assert "serves something else" in doctor(file, endpoint.endpoint)


@pytest.mark.anyio
async def test_an_address_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for another program: on a busy machine, a first answer takes seconds."""
    monkeypatch.setattr(endpoint_module, "DOCTOR_ENDPOINT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", address)
        settings = resolve_local({"DDB_MCP_LOCAL_PATH": str(tmp_path / "items.sqlite3")}, {})
        assert await describe_endpoint(settings) == f"{address} does not answer within 0.2 s"


@pytest.mark.parametrize("address", ["http://example.com:8000"])
def test_an_endpoint_elsewhere_is_not_asked(tmp_path: Path, address: str) -> None:
    assert "not on this machine" in doctor(tmp_path / "items.sqlite3", address)


@pytest.mark.parametrize(
    "address",
    [
        "http://[::1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:x",
        "localhost:8000",
        "http://[x]",
        "http://",
        "http://127.0.0.1:0",
    ],
)
@pytest.mark.anyio
async def test_an_address_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", address)
    settings = resolve_local({"DDB_MCP_LOCAL_PATH": str(tmp_path / "items.sqlite3")}, {})
    assert "AWS_ENDPOINT_URL_DYNAMODB is not a valid address" in await describe_endpoint(settings)


@pytest.mark.parametrize(
    "answer", [b"[]", b"null", b'{"Table": 5}', b'{"Table": {"TableId": 5}}', b"[" * 90_000, b"\xff"]
)
@pytest.mark.anyio
async def test_an_answer_of_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{server.server_port}")
        settings = resolve_local({"DDB_MCP_LOCAL_PATH": str(tmp_path / "items.sqlite3")}, {})
        assert (await describe_endpoint(settings)).endswith("serves something else")
