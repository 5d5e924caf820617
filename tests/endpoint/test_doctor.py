"""`doctor` and `info` in local mode say whether the app reaches the deployment's items."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from ddb_mcp.core.keys import Prefix
from ddb_mcp.service import app_endpoint
from ddb_mcp.service.app_endpoint import find_endpoint
from ddb_mcp.service.instructions import ENDPOINT
from tests.endpoint.support import serving
from tests.support.commands import run_command
from tests.support.engines import environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engines import Engine


def settings(file: Path, address: str, prefix: str = "deploy#local") -> dict[str, str]:
    own = {"DDB_MCP_MODE": "local", "DDB_MCP_LOCAL_PATH": str(file), "DYNAMODB_PREFIX": prefix}
    return environment(**own, AWS_ENDPOINT_URL_DYNAMODB=address)


def doctor(file: Path, address: str, prefix: str = "deploy#local") -> tuple[str, int]:
    """What doctor says of the endpoint, and its exit code."""
    done = run_command("doctor", environment=settings(file, address, prefix))
    (line,) = [line for line in done.stdout.splitlines() if "endpoint for the app" in line]
    return line.partition("endpoint for the app")[2].strip(), done.returncode


def info(file: Path, address: str, prefix: str = "deploy#local") -> dict[str, Any]:
    result: dict[str, Any] = json.loads(run_command("call", "info", environment=settings(file, address, prefix)).stdout)
    return result


def test_an_endpoint_over_this_file(tmp_path: Path, endpoint: Engine) -> None:
    file = tmp_path / "items.sqlite3"
    assert run_command("call", "provision", environment=environment(DDB_MCP_LOCAL_PATH=str(file))).returncode == 0
    with serving(file, DYNAMODB_PREFIX="deploy#local") as engine:
        address = engine.endpoint
        assert doctor(file, address) == (f"ok, {address} serves this file", 0)
        assert "warnings" not in info(file, address)
        assert f"serves them at {address}." in info(file, address)["instructions"]
        assert f"AWS_ENDPOINT_URL_DYNAMODB={address}" in info(file, address)["instructions"]
        for other, prefix in ((file, "deploy#two"), (tmp_path / "other.sqlite3", "deploy#local")):
            state = f"{address} serves {file} with the prefix deploy#local"
            assert doctor(other, address, prefix) == (state, 1)
            (warning,) = info(other, address, prefix)["warnings"]
            assert f"{state}. Start another with `ddb-mcp endpoint --port 0`" in warning
    with serving(file, "--all-keys") as engine:
        assert doctor(file, engine.endpoint)[0].startswith("ok")
    assert doctor(file, address) == (f"nothing listens at {address}; `ddb-mcp endpoint` starts it", 0)
    assert "warnings" not in info(file, address)
    assert doctor(file, endpoint.endpoint)[1] == 1


@pytest.mark.anyio
async def test_an_address_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for another program: on a busy machine, a first answer takes seconds."""
    monkeypatch.setattr(app_endpoint, "ENDPOINT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", address)
        found = await find_endpoint(tmp_path / "items.sqlite3", Prefix("deploy#local"))
        assert found == (address, f"{address} did not answer within 0.2 s", ())


@pytest.mark.parametrize("address", ["http://example.com:8000"])
def test_an_endpoint_elsewhere_is_not_asked(tmp_path: Path, address: str) -> None:
    assert doctor(tmp_path / "items.sqlite3", address) == ("not on this machine: example.com", 0)


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
    found = await find_endpoint(tmp_path / "items.sqlite3", Prefix("deploy#local"))
    assert found == (ENDPOINT, "not checked: AWS_ENDPOINT_URL_DYNAMODB is not a valid address", ())


@pytest.mark.parametrize(
    "answer", [b"[]", b"null", b"", b'{"file": 5, "prefix": null}', b'{"file": "x"}', b"[" * 90_000, b"\xff"]
)
@pytest.mark.anyio
async def test_an_answer_of_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{server.server_port}")
        found = await find_endpoint(tmp_path / "items.sqlite3", Prefix("deploy#local"))
        assert found.state.endswith("serves something else")
        assert "would not find this deployment's items" in found.warnings[0]
