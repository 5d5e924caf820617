"""Two gateways behind the documented nginx are restarted in turn, and no client notices."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx

from tests.gateway.conftest import PATH
from tests.gateway.process import Operator
from tests.support.nginx import running_nginx
from tests.support.through_mcp import connected

CLIENTS = 16  # of each interface
ROUNDS = 5
RATES = ("--requests-per-second", "1000000", "--items-per-second", "100000000")
PK = "deploy#alice#counters"


class _Clients:
    """Clients that each count up an item of their own: an addition that is lost or doubled shows in the number."""

    def __init__(self, url: str, token: str) -> None:
        self.counts: Counter[str] = Counter()
        self.are_ending = False
        self._counted = anyio.Event()
        self._url = url
        self._token = token

    async def run_http(self, number: int) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        async with httpx.AsyncClient(base_url=self._url, headers=headers, timeout=60, trust_env=False) as client:
            while not self.are_ending:
                name = f"http-{number}"
                response = await client.post(f"{PATH}put", json=self._next(name))
                assert response.status_code == 200, response.text
                self._check(name, response.json())

    async def run_mcp(self, number: int) -> None:
        async with connected(self._url, self._token, mode=("legacy", "auto")[number % 2]) as client:
            while not self.are_ending:
                name = f"mcp-{number}"
                result = await client.call_tool("put", self._next(name))
                assert not result.is_error, result.content
                self._check(name, result.structured_content or {})

    @staticmethod
    def _next(name: str) -> dict[str, Any]:
        return {"item": {"pk": PK, "sk": name}, "add": {"n": 1}}

    def _check(self, name: str, result: dict[str, Any]) -> None:
        self.counts[name] += 1
        self._counted.set()
        assert result["updated"] == {"n": self.counts[name]}

    async def wait_for(self, more: int) -> None:
        """Wait until each client has so many more responses."""
        reached = {name: count + more for name, count in self.counts.items()}
        while len(reached) < 2 * CLIENTS or any(self.counts[name] < count for name, count in reached.items()):
            self._counted = anyio.Event()
            await self._counted.wait()
            reached = dict.fromkeys(self.counts, 0) | reached


def _find_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def test_restarts_behind_nginx_lose_no_request_and_double_no_write(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    token = operator.deployments("add", "alice", *RATES)
    ports = [_find_port(), _find_port()]
    options = ("--drain-seconds", "5")

    async def conduct(url: str, gateways: list[ExitStack]) -> _Clients:
        clients = _Clients(url, token)

        def restart(at: int) -> None:
            gateways[at].close()  # SIGTERM, and the end of the process
            gateways[at].enter_context(operator.serve(*options, port=ports[at]))

        async with anyio.create_task_group() as group:
            for number in range(CLIENTS):
                group.start_soon(clients.run_http, number)
                group.start_soon(clients.run_mcp, number)
            for _ in range(ROUNDS):
                for at in range(2):
                    await clients.wait_for(5)
                    await anyio.to_thread.run_sync(restart, at)
            await clients.wait_for(5)
            clients.are_ending = True
        return clients

    with ExitStack() as first, ExitStack() as second, running_nginx(tmp_path, ports) as url:
        for stack, port in ((first, ports[0]), (second, ports[1])):
            stack.enter_context(operator.serve(*options, port=port))
        clients = anyio.run(conduct, url, [first, second])
        found = httpx.post(
            f"{url}{PATH}query", json={"pk": PK}, headers={"Authorization": f"Bearer {token}"}, trust_env=False
        ).json()
    assert {item["sk"]: item["n"] for item in found["items"]} == dict(clients.counts)
    assert len(clients.counts) == 2 * CLIENTS
    print(f"{sum(clients.counts.values())} writes")  # noqa: T201
