"""A gateway in operation: log, metrics, changed deployments, draining, a registry that changes, `gateway check`."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from tests.gateway.conftest import PATH, Answer, request
from tests.gateway.conftest import post as post_as
from tests.gateway.process import Operator
from tests.support.through_mcp import connected
from tests.support.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from pathlib import Path

KEY = {"pk": "deploy#alpha#secret-key", "sk": "1"}
MEMBERS = [
    "time",
    "client",
    "tenant",
    "token_id",
    "interface",
    "tool",
    "status",
    "error",
    "ms",
    "bytes_in",
    "bytes_out",
]


def post(url: str, operation: str, body: Any, *, token: str) -> Answer:
    return post_as(url, operation, body, authorization=f"Bearer {token}")


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


async def call_over_mcp(url: str, token: str, mode: str) -> None:
    async with connected(url, token, mode=mode) as client:
        await client.call_tool("put", {"item": {**KEY, "note": "secret-value"}})
        await client.call_tool("get", {"pk": "deploy#other#secret-key", "sk": "1"})


def test_the_log_of_all_interfaces(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    token = operator.deployments("add", "alpha")
    ((token_id, *_),) = [line.split("\t") for line in operator.gateway("tokens", "list", "alpha").splitlines()]
    with operator.serve() as gateway:
        post(gateway.url, "put", {"item": {**KEY, "note": "secret-value"}}, token=token)
        post(gateway.url, "get", {"pk": "deploy#other#x", "sk": "1"}, token=token)
        post(gateway.url, "get", {"pk": KEY["pk"]}, token=token)
        post(gateway.url, "get", KEY, token="dgw_made_up")
        for mode in ("legacy", "auto"):
            anyio.run(call_over_mcp, gateway.url, token, mode)
        wait_until(lambda: len([entry for entry in gateway.requests() if entry["tool"]]) == 8)
        entries = gateway.requests()
        assert all(list(entry) == MEMBERS for entry in entries)
        facts = [tuple(entry[name] for name in MEMBERS[2:8]) for entry in entries if entry["tool"]]
        own = ("alpha", token_id)
        assert facts[:4] == [
            (*own, "api", "put", 200, None),
            (*own, "api", "get", 403, "prefix_violation"),
            (*own, "api", "get", 400, "invalid_argument"),
            (None, None, "api", "get", 401, "unauthenticated"),
        ]
        over_mcp = [(*own, "mcp", "put", 200, None), (*own, "mcp", "get", 200, "prefix_violation")]
        assert facts[4:] == 2 * over_mcp
        assert entries[0]["bytes_in"] == len(json.dumps({"item": {**KEY, "note": "secret-value"}}))
        assert all(entry["bytes_out"] > 20 for entry in entries if entry["tool"])
        assert "secret" not in gateway.log
        assert token not in gateway.log


def read_metrics(port: int) -> dict[str, float]:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert "alpha" not in text
    return {name: float(value) for name, value in re.findall(r"^(ddb_mcp_\S+(?:\{.*?\})?) (\S+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("processes", [1, 2])
def test_metrics(tmp_path: Path, processes: int) -> None:
    operator, port = Operator(tmp_path), free_port()
    token = operator.deployments("add", "alpha", "--requests-per-second", "1")
    with operator.serve("--metrics-port", str(port), "--processes", str(processes)) as gateway:
        statuses = [post(gateway.url, "get", KEY, token=token).status for _ in range(40)]
        assert set(statuses) == {200, 429}
        anyio.run(call_over_mcp, gateway.url, operator.deployments("add", "beta"), "auto")
        refused = [entry for entry in gateway.requests() if entry["error"] == "throttled"]
        assert {entry["tenant"] for entry in refused} == {"alpha"}
        labels = 'interface="api",outcome="{}",tool="get"'
        wait_until(lambda: sum("mcp" in name for name in read_metrics(port)) > 2)
        metrics = read_metrics(port)
        assert metrics["ddb_mcp_request_seconds_count{" + labels.format("ok") + "}"] == statuses.count(200)
        assert metrics["ddb_mcp_request_seconds_count{" + labels.format("throttled") + "}"] == statuses.count(429)
        assert metrics["ddb_mcp_request_seconds_count{" + labels.format("ok") + "}"] == statuses.count(200)
        assert sum(value for name, value in metrics.items() if name.startswith("ddb_mcp_refusals")) >= statuses.count(
            429
        )
        assert sum(value for name, value in metrics.items() if "in_flight" in name) == 0


def test_a_metrics_port_that_is_taken(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        done = operator.run("gateway", "serve", "--port", "0", "--metrics-port", str(taken.getsockname()[1]))
        assert done.returncode == 2
        assert "--metrics-port" in done.stderr


def test_rates_change_and_tokens_stay(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    token = operator.deployments("add", "alpha", "--requests-per-second", "1")
    with operator.serve() as gateway:
        post(gateway.url, "put", {"item": KEY}, token=token)
        assert 429 in [post(gateway.url, "get", KEY, token=token).status for _ in range(20)]
        shown = json.loads(operator.deployments("update", "alpha", "--requests-per-second", "1000"))
        assert (shown["requestsPerSecond"], shown["itemsPerSecond"]) == (1000, 20000)
        assert {post(gateway.url, "get", KEY, token=token).status for _ in range(20)} == {200}
    assert operator.run("gateway", "deployments", "update", "alpha").returncode == 2
    assert operator.run("gateway", "deployments", "update", "beta", "--items-per-second", "1").returncode == 2
    functions = operator.run("gateway", "deployments", "update", "alpha", "--lambda-functions", "a")
    assert "local file" in functions.stderr


def test_it_drains(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    token = operator.deployments("add", "alpha")
    with operator.serve("--drain-seconds", "2") as gateway, httpx.Client(base_url=gateway.url) as client:
        headers = {"Authorization": f"Bearer {token}"}
        assert "connection" not in client.get("/health").headers
        gateway.process.terminate()
        wait_until(lambda: client.get("/health").status_code == 503)
        assert client.get("/health").json() == {"status": "draining"}
        response = client.post(f"{PATH}put", json={"item": KEY}, headers=headers)
        assert (response.status_code, response.headers["connection"]) == (200, "close")
        gateway.process.wait(PATIENCE)
        with pytest.raises(httpx.ConnectError):
            client.get("/health")


def test_restarts_lose_no_request(tmp_path: Path) -> None:
    """Clients that try the other gateway only if they could not connect, as nginx does with a POST."""
    operator = Operator(tmp_path)
    token = operator.deployments("add", "alpha")
    ports = [free_port(), free_port()]
    gateways = [operator.serve("--drain-seconds", "1", port=port).__enter__() for port in ports]
    ending, acknowledged, failed = threading.Event(), list[str](), list[str]()

    def write(number: int) -> None:
        with httpx.Client(timeout=PATIENCE, limits=httpx.Limits(keepalive_expiry=0.5)) as client:
            for step in range(10**6):
                if ending.is_set():
                    return
                name = f"{number}-{step}"
                try:
                    if not put(client, name, ports if step % 2 else ports[::-1]):
                        failed.append(name)
                    acknowledged.append(name)
                except Exception as error:
                    failed.append(repr(error))

    def put(client: httpx.Client, name: str, ports: list[int]) -> bool:
        item = {"pk": "deploy#alpha#a", "sk": name}
        for port in ports:
            try:
                url = f"http://127.0.0.1:{port}{PATH}put"
                answer = client.post(url, json={"item": item}, headers={"Authorization": f"Bearer {token}"})
            except httpx.ConnectError:
                continue
            return answer.status_code == 200 and answer.json()["created"] is True
        return False

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for at in (0, 1, 0, 1):
            before = len(acknowledged)
            wait_until(lambda before=before: len(acknowledged) > before + 20)
            gateways[at].__exit__(None, None, None)
            gateways[at] = operator.serve("--drain-seconds", "1", port=ports[at]).__enter__()
    finally:
        ending.set()
        for thread in threads:
            thread.join()
        for gateway in gateways:
            gateway.__exit__(None, None, None)
    assert failed == []
    with closing(sqlite3.connect(tmp_path / "items.sqlite3")) as connection:
        ((stored,),) = connection.execute("SELECT count(*) FROM items")
    assert stored == len(acknowledged)


def test_a_registry_that_is_gone_and_made_anew(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    operator.limits = {"ddb_mcp.gateway.registry.KEYS_SECONDS": 0.2}
    token = operator.deployments("add", "alpha")
    (registry,) = tmp_path.glob("*-gateway.sqlite3")
    with operator.serve() as gateway:
        assert post(gateway.url, "get", KEY, token=token).status == 200
        for file in tmp_path.glob("*-gateway.sqlite3*"):
            file.unlink()
        wait_until(lambda: post(gateway.url, "get", KEY, token=token).status == 503)
        answer = post(gateway.url, "get", KEY, token=token)
        assert answer.document["error"] == "unavailable"
        assert "gateway" not in json.dumps(answer.document)
        assert str(tmp_path) not in json.dumps(answer.document)
        assert re.search("ERROR .*registry", gateway.log)
        renewed = operator.deployments("add", "alpha")
        wait_until(lambda: post(gateway.url, "get", KEY, token=renewed).status == 200)
        assert post(gateway.url, "get", KEY, token=token).status == 401
    assert registry.exists()


def test_check(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    done = operator.run("gateway", "check", "--port", "0")
    assert done.returncode == 1
    assert done.stdout.count("There is no table") == 2
    token = operator.deployments("add", "alpha")
    with operator.serve() as gateway:
        assert post(gateway.url, "put", {"item": KEY}, token=token).status == 200
        done = operator.run("gateway", "check", "--port", str(gateway.port))
        assert done.returncode == 1
        assert f"{gateway.port}" in done.stdout.split("Fix this")[1]
    done = operator.run("gateway", "check", "--port", "0")
    assert done.returncode == 0, done.stdout
    assert "data: UpdateItem" in done.stdout
    assert "registry: Scan" in done.stdout
    with operator.serve() as gateway:
        assert post(gateway.url, "scan", {}, token=token).document["items"] == [KEY]


def test_a_read_only_operator_makes_read_only_tokens(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    operator.deployments("add", "alpha")
    done = operator.run("gateway", "tokens", "add", "alpha", DDB_MCP_READ_ONLY="1")
    assert "read-only" in done.stderr
    with operator.serve() as gateway:
        assert post(gateway.url, "put", {"item": KEY}, token=done.stdout.strip()).document["error"] == "read_only"


def test_an_unknown_path_is_not_in_the_log(tmp_path: Path) -> None:
    with Operator(tmp_path).serve() as gateway:
        request(gateway.url, "GET", "/secret", None, {})
        (entry,) = gateway.requests()
        assert (entry["tool"], entry["interface"], entry["status"]) == (None, None, 404)


def test_processes_on_one_port_leave_no_connection_waiting(tmp_path: Path) -> None:
    """Each may accept what another has been woken for too, and must not wait then."""
    with Operator(tmp_path).serve("--processes", "2") as gateway:
        for _ in range(400):
            assert httpx.get(f"{gateway.url}/health", timeout=PATIENCE / 10).status_code == 200
