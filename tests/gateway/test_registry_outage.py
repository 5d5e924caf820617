"""A registry that goes away, changes or does not answer while a gateway serves."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ddb_mcp.core.items import parse_item
from ddb_mcp.core.keys import Prefix
from ddb_mcp.gateway import registry as registry_module
from ddb_mcp.gateway import tenant_requests
from ddb_mcp.gateway.app import Gateway
from ddb_mcp.gateway.registry import Registry
from ddb_mcp.stores.base import NO_CONDITION, Store
from ddb_mcp.stores.direct import session
from ddb_mcp.stores.local.store import LocalStore
from tests.direct.support import CREDENTIALS, aws, direct
from tests.gateway.conftest import Answer, post, request
from tests.gateway.running import RunningGateway, running_gateway, served, silent, with_registry
from tests.support.engines import Engine
from tests.support.faults import FaultProxy, Silence, dynamodb_error

PREFIX = "deploy#alice"


class Clock:
    """The registry's clock, which a test moves on."""

    ahead = 0.0
    time = staticmethod(time.time)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(registry_module, "time", clock)
    return clock


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    with running_gateway(LocalStore(tmp_path / "items.sqlite3", "gateway-table"), tmp_path) as gateway:
        yield gateway


def info(url: str, token: str) -> Answer:
    return post(url, "info", {}, authorization=f"Bearer {token}")


def refused(url: str, token: str, caplog: pytest.LogCaptureFixture, *names: str) -> None:
    """Check that a tenant gets 503 without the operator's names, and that the log has the whole error."""
    caplog.clear()
    with caplog.at_level(logging.ERROR, "ddb_mcp.gateway"):
        answer = info(url, token)
    assert (answer.status, answer.document["error"]) == (503, "unavailable")
    assert request(url, "GET", "/health", None, {}).status == 503
    said = json.dumps(answer.document)
    assert not [name for name in ("gateway-table", "sqlite", "dynamodb", "Item", *names) if name in said]
    assert "The registry cannot be read" in caplog.text


def remove(tmp_path: Path) -> None:
    for file in tmp_path.glob("registry.sqlite3*"):
        file.unlink()


def made_anew(gateway: RunningGateway) -> str:
    """The token of the deployment in a new registry."""

    async def make(registry: Registry) -> str:
        await registry.create_if_missing(silent)
        return await registry.add("alice", Prefix(PREFIX))

    return gateway.registry(make)


def test_a_registry_made_anew_is_noticed_in_a_minute(
    gateway: RunningGateway, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    before = gateway.token(PREFIX)
    assert info(gateway.url, before).status == 200
    remove(tmp_path)
    refused(gateway.url, before, caplog, str(tmp_path))
    after = made_anew(gateway)
    clock.ahead += 60
    assert info(gateway.url, after).status == 200
    assert info(gateway.url, before).status == 401


def test_one_with_another_secret_in_its_place(gateway: RunningGateway, clock: Clock, tmp_path: Path) -> None:
    before = gateway.token(PREFIX)
    assert info(gateway.url, before).status == 200
    remove(tmp_path)
    after = made_anew(gateway)  # no request came between
    clock.ahead += 60
    assert [info(gateway.url, token).status for token in (before, after)] == [401, 200]


def test_one_of_a_newer_version(gateway: RunningGateway, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    token = gateway.token(PREFIX)
    assert info(gateway.url, token).status == 200
    facts = parse_item({"pk": "registry", "sk": "facts", "version": 2, "secret": "00" * 32})
    gateway.registry(lambda registry: registry.store.put(facts, NO_CONDITION))
    clock.ahead += 60
    refused(gateway.url, token, caplog)
    assert "Upgrade ddb-mcp." in caplog.text


@pytest.fixture
def proxy(dynoxide: Engine) -> Iterator[FaultProxy]:
    with FaultProxy(dynoxide.endpoint) as proxy:
        yield proxy


@pytest.mark.parametrize("fault", ["deleted", "denied", "silent"])
def test_a_table_that_cannot_be_read(
    dynoxide: Engine,
    proxy: FaultProxy,
    tmp_path: Path,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults: dict[str, Any] = {
        "deleted": dynamodb_error("ResourceNotFoundException"),
        "denied": dynamodb_error("AccessDeniedException", message="arn:aws:iam::123456789012:role/gateway"),
        "silent": Silence(),
    }
    table = dynoxide.create_table()
    monkeypatch.setattr(session, "AWS_READ_SECONDS", 1)  # the end of the gateway waits for a read under way
    with aws(proxy.endpoint, **CREDENTIALS):

        def registry() -> Store:
            return direct(table)

        async def add(registry: Registry) -> str:
            await registry.create_if_missing(silent)
            return await registry.add("alice", Prefix(PREFIX))

        token = with_registry(registry, add)
        items = LocalStore(tmp_path / "items.sqlite3", "gateway-table")
        with served(lambda: Gateway(Registry(registry()), items)) as url:
            assert info(url, token).status == 200
            monkeypatch.setattr(tenant_requests, "REGISTRY_SECONDS", 0.2 if fault == "silent" else 15)
            proxy.plan(faults[fault], times=1000)
            refused(url, token, caplog, table, "arn:aws")
