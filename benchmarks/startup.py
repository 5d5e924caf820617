"""From spawning a server to its first answer, as a ratio to the SDK's own server of seven tools in the same run.

`python -m benchmarks.startup [RUNS]`: medians of interleaved runs, so that a machine that drifts drifts for all.
"""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

import ddb_mcp

TARGET = 0.85
# The first call to DynamoDB pays for botocore.
TARGETS = {("direct", "info"): 0.95}

SDK_SERVER = [sys.executable, str(Path(__file__).with_name("sdk_server.py"))]
OURS = [str(Path(sys.executable).with_name("ddb-mcp"))]
FLOOR = "sdk"

CLIENT = {"name": "benchmark", "version": "1"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}
HANDSHAKE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
ERAS = ("2025-11-25", "2026-07-28")
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "tools/list": ("tools/list", {}),
    "info": ("tools/call", {"name": "info", "arguments": {}}),
}


def main(runs: int = 15) -> None:
    # As installing does; a checkout may have none, or PYTHONDONTWRITEBYTECODE set.
    compileall.compile_dir(Path(ddb_mcp.__file__).parent, quiet=1)
    with ExitStack() as stack:
        servers = {FLOOR: (SDK_SERVER, {}), **{mode: (OURS, settings) for mode, settings in _modes(stack).items()}}
        times: dict[tuple[str, str, str], list[float]] = {}
        bare: list[float] = []
        for _ in range(runs):
            bare.append(_bare_python())
            for era in ERAS:
                for request in REQUESTS:
                    for name, (command, settings) in servers.items():
                        elapsed = _first_answer(command, settings, era, request)
                        times.setdefault((era, request, name), []).append(elapsed)
    print(f"Start-up: spawn to first answer, median of {runs}, and as a ratio to the SDK's seven-tool server")
    print(f"  python -c pass: {median(bare) * 1000:.0f} ms")
    for era in ERAS:
        for request in REQUESTS:
            floor = median(times[era, request, FLOOR])
            print(f"  {era} {request}: SDK {floor * 1000:.0f} ms")
            for name in servers:
                if name != FLOOR:
                    ours = median(times[era, request, name])
                    target = TARGETS.get((name, request), TARGET)
                    verdict = "" if ours <= target * floor else f"  (over {target})"
                    print(f"    {name:8} {ours * 1000:5.0f} ms  {ours / floor:.2f}{verdict}")


def _modes(stack: ExitStack) -> dict[str, dict[str, str]]:
    """The settings of each mode, with something real but quick at the other end."""
    from tests.support.engines import is_installed, running

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    platform = ThreadingHTTPServer(("127.0.0.1", 0), _Platform)
    stack.callback(platform.server_close)
    stack.callback(platform.shutdown)
    threading.Thread(target=platform.serve_forever, daemon=True).start()
    modes = {
        "local": {"DDB_MCP_LOCAL_PATH": str(folder / "startup.sqlite")},
        "platform": {
            "DDB_MCP_API_URL": f"http://127.0.0.1:{platform.server_port}",
            "DDB_MCP_AUTH_TOKEN": "token",
        },
    }
    if is_installed("engines"):
        engine = stack.enter_context(running("dynoxide", folder))
        modes["direct"] = {
            "DYNAMODB_TABLE": "app",
            "DYNAMODB_PREFIX": "deploy#abc123",
            "AWS_ENDPOINT_URL_DYNAMODB": engine.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }
    else:
        print("direct mode left out: no engine; run `make engines`")
    return modes


class _Platform(BaseHTTPRequestHandler):
    """A platform that answers every operation as `info` is answered."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = {
            "tableName": "cctools-app-data",
            "prefix": "deploy#abc123",
            "region": "us-east-1",
            "instructions": "Use it.",
        }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _bare_python() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - start


def _first_answer(command: list[str], settings: dict[str, str], era: str, request: str) -> float:
    """Seconds from spawning `command` to its answer to `request`, asked as the first thing that `era` allows."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DDB_MCP_", "DYNAMODB_", "AWS_"))}
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**own, **settings}
    ) as server:
        method, params = REQUESTS[request]
        if era == ERAS[0]:
            _ask(server, 0, "initialize", HANDSHAKE)
            _send(server, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        else:
            params = {**params, "_meta": ENVELOPE}
        answer = _ask(server, 1, method, params)
        elapsed = time.perf_counter() - start
        _, errors = server.communicate()
    if "result" not in answer or answer["result"].get("isError"):
        sys.exit(f"{command} {settings}: {answer}\n{errors.decode()}")
    return elapsed


def _ask(server: subprocess.Popen[bytes], request: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
    _send(server, {"jsonrpc": "2.0", "id": request, "method": method, "params": params})
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line:
        assert server.stderr is not None
        sys.exit(f"no answer to {method}: {server.stderr.read().decode()}")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _send(server: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert server.stdin is not None
    server.stdin.write(json.dumps(message).encode() + b"\n")
    server.stdin.flush()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
