"""Several processes, on one port or on ports of their own, over one engine: what is done through one holds in all."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest

from ddb_mcp.config.settings import PlatformSettings
from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.platform.store import PlatformStore
from tests.gateway.conftest import post
from tests.gateway.load import Writers, add_rated
from tests.gateway.process import GatewayProcess, Operator
from tests.support.commands import run_process
from tests.support.engines import Engine
from tests.support.forking import Process
from tests.support.moves import items_to_move, list_places, wait_for_some_moved
from tests.support.waiting import wait_until


def children_of(pid: int) -> list[int]:
    """The processes that another has started, the server's own alone."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="it reads Linux's list of processes")


@needs_proc
@pytest.mark.extended
def test_one_port_two_processes_and_one_that_dies(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    token = add_rated(operator)

    async def attempt(gateway: GatewayProcess) -> None:
        load = Writers(gateway.url, token, 16)
        async with anyio.create_task_group() as group:
            group.start_soon(load.run)
            for _ in range(2):
                before = load.calls["put"]
                await anyio.to_thread.run_sync(wait_until, lambda before=before: load.calls["put"] > before + 50)
                victim = children_of(gateway.process.pid)[0]
                os.kill(victim, signal.SIGKILL)
                await anyio.to_thread.run_sync(
                    wait_until,
                    lambda victim=victim: victim not in (now := children_of(gateway.process.pid)) and len(now) == 2,
                )
            before = load.calls["put"]
            await anyio.to_thread.run_sync(wait_until, lambda: load.calls["put"] > before + 50)
            load.stop = True
        stored = await load.stored()
        assert stored.keys() >= load.acknowledged.keys()
        assert all(stored[sk] >= value for sk, value in load.acknowledged.items())

    with operator.serve("--processes", "2") as gateway:
        wait_until(lambda: len(children_of(gateway.process.pid)) == 2)
        anyio.run(attempt, gateway)
        family = children_of(gateway.process.pid)
    assert gateway.process.returncode == 0
    assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]
    assert "starting another" in gateway.log


@needs_proc
def test_processes_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    with operator.serve("--processes", "2") as gateway:
        wait_until(lambda: len(children_of(gateway.process.pid)) == 2)
        family = children_of(gateway.process.pid)
        gateway.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family))


@pytest.fixture
def operator(dynoxide: Engine, tmp_path: Path) -> Operator:
    return Operator(
        tmp_path,
        DDB_MCP_MODE="direct",
        DYNAMODB_TABLE=dynoxide.create_table(),
        AWS_ENDPOINT_URL_DYNAMODB=dynoxide.endpoint,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        DDB_MCP_LOCAL_PATH="",
    )


def test_what_is_done_through_one_holds_in_all_four(operator: Operator) -> None:
    """The registry is made, a deployment added, its tokens changed, a cursor used, while four gateways serve."""
    assert "Created" in operator.gateway("init")
    assert "exists already" in operator.gateway("init")
    with contextlib.ExitStack() as stack:
        gateways = [stack.enter_context(operator.serve()) for _ in range(4)]

        def statuses(token: str) -> set[int]:
            return {post(gateway.url, "info", {}, authorization=f"Bearer {token}").status for gateway in gateways}

        first = operator.deployments("add", "alpha")
        assert statuses(first) == {200}
        reading = operator.gateway("tokens", "add", "alpha", "--read-only")
        assert statuses(reading) == {200}
        operator.gateway("tokens", "revoke", "alpha", reading.split("_")[2])
        assert statuses(reading) == {401}
        second = operator.deployments("rotate", "alpha")
        assert (statuses(first), statuses(second)) == ({401}, {200})

        items = [{"pk": "deploy#alpha#a", "sk": f"{at:02}"} for at in range(40)]
        authorization = f"Bearer {second}"
        assert post(gateways[0].url, "put", {"items": items}, authorization=authorization).document["written"] == 40
        found, body = [], {"pk": "deploy#alpha#a", "limit": 7}
        for at in range(6):  # each page from another gateway
            page = post(gateways[at % 4].url, "query", body, authorization=authorization).document
            found += page["items"]
            body["cursor"] = page.get("cursor")
        assert found == items
        assert page["complete"] is True


def test_of_adds_of_overlapping_prefixes_at_the_same_time_one_wins(operator: Operator) -> None:
    operator.gateway("init")
    prefixes = ["deploy#x#a", "deploy#x", "deploy#x#a#b", "deploy#x#a"]
    with ThreadPoolExecutor(4) as pool:
        adds = (["gateway", "deployments", "add", f"d{at}", "--prefix", prefix] for at, prefix in enumerate(prefixes))
        done = list(pool.map(lambda words: run_process(*words, environment=operator.environment), adds))
    assert sorted(process.returncode for process in done) == [0, 2, 2, 2], [process.stderr for process in done]
    assert len(operator.deployments("list").splitlines()) == 1


@pytest.mark.extended
def test_a_removal_during_load_from_four_gateways_takes_that_deployment_whole_and_nothing_else(
    operator: Operator,
) -> None:
    """The first removal is killed in its middle; the second one finishes. A slow machine has requests out of time."""
    operator.limits = {
        "ddb_mcp.gateway.tenant_requests.REQUEST_SECONDS": 3,
        "ddb_mcp.gateway.removal.REMOVAL_SECONDS": 3 + 13,
    }
    tokens = {name: operator.deployments("add", name) for name in ("alpha", "beta")}
    statuses: dict[str, Counter[int]] = {"alpha": Counter(), "beta": Counter()}
    acknowledged: dict[str, set[str]] = {"alpha": set(), "beta": set()}
    out_of_time: set[str] = set()
    stop = False

    def write(client: int) -> None:
        name, at = ("alpha", "beta")[client % 2], 0
        while not stop:
            at += 1
            sk = f"{client}-{at}"
            item = {"pk": f"deploy#{name}#load", "sk": sk}
            url = gateways[client // 2].url
            status = post(url, "put", {"item": item}, authorization=f"Bearer {tokens[name]}").status
            statuses[name][status] += 1
            if status == 200:
                acknowledged[name].add(sk)
            elif status == 503:
                out_of_time.add(sk)
            time.sleep(0.02)

    with contextlib.ExitStack() as stack:
        gateways = [stack.enter_context(operator.serve()) for _ in range(4)]
        with ThreadPoolExecutor(9) as pool:
            clients = [pool.submit(write, client) for client in range(8)]
            try:
                wait_until(lambda: len(acknowledged["alpha"]) > 100)
                command = operator.command("gateway", "deployments", "remove", "alpha", "--yes")
                killed = Process(command, env=operator.environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                wait_until(lambda: statuses["alpha"][401] > 8)
                killed.kill()
                killed.wait()
                assert "being removed" in operator.deployments("list")
                done = operator.run("gateway", "deployments", "remove", "alpha", "--yes")
                assert done.returncode == 0, done.stderr
                assert int(done.stdout.split()[0]) >= len(acknowledged["alpha"])
            finally:
                stop = True
            for client in clients:
                client.result()
        assert statuses["alpha"].keys() - {503} == {200, 401}
        assert statuses["beta"].keys() - {503} == {200}
        listed = operator.deployments("list")
        assert "alpha" not in listed
        again = operator.deployments("add", "alpha")
        count = post(gateways[1].url, "scan", {"view": "count"}, authorization=f"Bearer {again}").document
        assert (count["count"], count["complete"]) == (0, True)
        found: set[str] = set()
        body: dict[str, object] = {"pk": "deploy#beta#load", "limit": 1000}
        while True:
            page = post(gateways[2].url, "query", body, authorization=f"Bearer {tokens['beta']}").document
            found |= {item["sk"] for item in page["items"]}
            if page["complete"]:
                break
            body["cursor"] = page["cursor"]
        assert acknowledged["beta"] <= found <= acknowledged["beta"] | out_of_time


def test_a_move_through_a_gateway_that_is_killed_is_finished_by_the_same_call(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    token = add_rated(operator)
    file = tmp_path / "items.sqlite3"
    old, new = "deploy#alpha#old", "deploy#alpha#new"
    move = {"where": {"pk": old}, "move_to": new}
    with operator.serve() as gateway:
        for batch in items_to_move(old):
            assert through(gateway, token, {"items": batch})["failed"] == []
        with ThreadPoolExecutor(1) as threads:
            call = threads.submit(through, gateway, token, move)
            wait_for_some_moved(file, new)
            gateway.kill()
            assert isinstance(call.exception(300), DdbMcpError)
    places = list_places(file)
    assert set(map(len, places.values())) == {1}, "each item is in one place"
    assert set().union(*places.values()) == {old, new}, "it was killed in its middle"
    with operator.serve() as gateway:
        result = through(gateway, token, move)
        assert (result["complete"], result["failed"]) == (True, [])
    assert list_places(file) == {key: [new] for key in places}


def through(gateway: GatewayProcess, token: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The result of a put, by a client of its own."""

    async def put() -> dict[str, Any]:
        store = PlatformStore(PlatformSettings(api_url=gateway.url, auth_token=token))
        try:
            return await DataService(store, None).run_operation("put", arguments)
        finally:
            await store.close()

    return anyio.run(put)
