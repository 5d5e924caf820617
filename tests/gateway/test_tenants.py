"""What a tenant learns of others and of the operator, which is nothing, and what it has to pay for, over an engine."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal

from ddb_mcp.gateway import budgets, tenant_store
from tests.direct.support import CREDENTIALS, aws, connected, direct, lambda_function
from tests.gateway.conftest import Answer as Reply
from tests.gateway.conftest import post, request
from tests.gateway.process import Operator
from tests.gateway.running import RunningGateway, running_gateway
from tests.support.engines import Engine, client_options
from tests.support.faults import Answer, FaultProxy, dynamodb_error, throttled

OTHERS = 300


@pytest.fixture
def proxy(dynoxide: Engine) -> Iterator[FaultProxy]:
    with FaultProxy(dynoxide.endpoint) as proxy:
        yield proxy


@pytest.fixture
def gateway(dynoxide: Engine, proxy: FaultProxy, portal: BlockingPortal, tmp_path: Path) -> Iterator[RunningGateway]:
    """A gateway over a table of its own, through a proxy that can fail."""
    table = dynoxide.create_table()
    with aws(proxy.endpoint, **CREDENTIALS), running_gateway(direct(table), tmp_path) as gateway:
        yield gateway


def asked(gateway: RunningGateway, prefix: str, operation: str, **body: Any) -> Reply:
    return post(gateway.url, operation, body, authorization=f"Bearer {gateway.token(prefix)}")


def fill(gateway: RunningGateway, prefix: str, count: int, **attributes: Any) -> None:
    for start in range(0, count, 100):
        items = [
            {"pk": f"{prefix}#{at % 5}", "sk": f"{at:05}", **attributes} for at in range(start, min(count, start + 100))
        ]
        assert asked(gateway, prefix, "put", items=items).document == {"written": len(items), "failed": []}


@pytest.mark.parametrize("body", [{}, {"view": "count"}, {"view": "summary"}, {"filter": {"n": 1}}, {"limit": 3}])
def test_no_count_changes_when_a_neighbour_writes(gateway: RunningGateway, body: dict[str, Any]) -> None:
    fill(gateway, "deploy#me", 7, n=1)
    fill(gateway, "deploy#other", 10)
    before = asked(gateway, "deploy#me", "scan", **body).document
    fill(gateway, "deploy#another", 90)
    after = asked(gateway, "deploy#me", "scan", **body).document
    for page in (before, after):
        assert "capacity" not in page
        assert page["scanned"] <= 7
        page.pop("cursor", None)
    if "limit" not in body:
        assert {**after, "items": None} == {**before, "items": None}
    assert asked(gateway, "deploy#me", "query", pk="deploy#me#1").document.get("capacity") is None


@pytest.mark.usefixtures("clock")
def test_a_tenant_pays_for_its_own_items_and_for_others_from_another_budget(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(gateway, "deploy#many", OTHERS)
    monkeypatch.setattr(budgets, "TENANT_OTHERS_PER_SECOND", 20)
    small = f"Bearer {gateway.token('deploy#small', items_per_second=10)}"
    items = [{"pk": "deploy#small#a", "sk": str(at)} for at in range(5)]
    assert post(gateway.url, "put", {"items": items}, authorization=small).document["written"] == 5
    page = post(gateway.url, "scan", {}, authorization=small).document
    assert (page["count"], page["scanned"], page["complete"]) == (5, 5, True)
    refused = post(gateway.url, "scan", {}, authorization=small)
    assert (refused.status, refused.document["error"]) == (429, "throttled")
    assert int(refused.headers["Retry-After"]) >= 1
    for operation, body in (("get", items[0]), ("query", {"pk": "deploy#small#a"}), ("put", {"item": items[0]})):
        assert post(gateway.url, operation, body, authorization=small).status == 200


def test_a_scan_of_a_small_deployment_in_a_large_table_goes_on_by_cursor(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(gateway, "deploy#many", OTHERS)
    fill(gateway, "deploy#little", 6)
    monkeypatch.setattr(tenant_store, "GATEWAY_READ_BUDGET", 100)
    found: list[Any] = []
    body: dict[str, Any] = {}
    stops = []
    for _ in range(20):
        page = asked(gateway, "deploy#little", "scan", **body).document
        found += page["items"]
        if page["complete"]:
            break
        stops.append(page["stopped"])
        body["cursor"] = page["cursor"]
    assert sorted(item["sk"] for item in found) == [f"{at:05}" for at in range(6)]
    assert stops
    assert set(stops) == {"read_budget"}
    # A filter that matches nothing looks at some items for the reason, within the same budget.
    hinted = asked(gateway, "deploy#little", "scan", filter={"no": 1})
    assert (hinted.status, hinted.document["stopped"]) == (200, "read_budget")


SECRET = "arn:aws:iam::123456789012:role/prod-gateway"
REFUSALS = {
    "expired credentials": Answer(400, {"__type": "com.amazon.coral.service#ExpiredTokenException", "message": SECRET}),
    "denied": dynamodb_error("AccessDeniedException", message=f"User: {SECRET} is not authorized"),
    "signature": Answer(400, {"__type": "com.amazon.coral.service#InvalidSignatureException", "message": SECRET}),
}


@pytest.mark.parametrize("fault", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("operation", ["get", "put", "query", "scan", "delete"])
def test_what_the_storage_refuses_the_gateway_is_the_operators_alone(
    gateway: RunningGateway,
    proxy: FaultProxy,
    caplog: pytest.LogCaptureFixture,
    fault: Answer,
    operation: str,
) -> None:
    key = {"pk": "deploy#me#a", "sk": "1"}
    bodies: dict[str, Any] = {"put": {"item": key}, "query": {"pk": key["pk"]}, "scan": {}}
    assert asked(gateway, "deploy#me", "put", item=key).status == 200
    proxy.plan(fault, times=100)
    with caplog.at_level(logging.ERROR, "ddb_mcp.gateway"):
        answer = asked(gateway, "deploy#me", operation, **bodies.get(operation, key))
    assert (answer.status, answer.document["error"], answer.document["retryable"]) == (503, "unavailable", True)
    said = json.dumps(answer.document).lower()
    for word in ("aws", "arn", "credential", "profile", "permission", "prod-gateway", "token", "dynamodb", "table"):
        assert word not in said
    (logged,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "tenant-0" in logged.getMessage()
    assert "the storage refuses the gateway" in logged.getMessage()


def test_a_storage_that_is_busy_is_said_to_be_without_names(gateway: RunningGateway, proxy: FaultProxy) -> None:
    key = {"pk": "deploy#me#a", "sk": "1"}
    asked(gateway, "deploy#me", "put", item=key)
    proxy.plan(throttled(), times=100)
    answer = asked(gateway, "deploy#me", "get", **key)
    assert (answer.status, answer.document["error"]) == (429, "throttled")
    assert "Retry-After" not in answer.headers, "it is not this tenant that asked for too much"


def test_a_registry_that_cannot_be_read_is_the_operators_trouble_too(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    token = operator.deployments("add", "alpha")
    with operator.serve() as gateway:
        assert request(gateway.url, "GET", "/health", None, {}).status == 200
        for file in tmp_path.glob("items-gateway.sqlite3*"):
            file.unlink()
        (tmp_path / "items-gateway.sqlite3").write_text("this is no registry " * 500)
        answer = post(gateway.url, "info", {}, authorization=f"Bearer {token}")
        assert (answer.status, answer.document["error"]) == (503, "unavailable")
        health = request(gateway.url, "GET", "/health", None, {})
        assert (health.status, health.document) == (503, {"status": "the registry cannot be read"})
        for said in (json.dumps(answer.document), json.dumps(health.document)):
            assert str(tmp_path) not in said
        assert str(tmp_path) in gateway.log
        assert "Traceback" not in gateway.log
        # Who has no token learns not even that, and costs no read.
        assert post(gateway.url, "info", {}, authorization="Bearer made-up").status == 401


def test_calls_at_once_and_bytes_are_limited_for_one_deployment_only(
    gateway: RunningGateway, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "TENANT_BYTES_PER_SECOND", 1000)
    monkeypatch.setattr(budgets, "TENANT_BYTES_BURST", 100_000)
    long = {"pk": "deploy#me#a", "sk": "1", "text": "x" * 60_000}
    answers = [asked(gateway, "deploy#me", "put", item=long) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert "bytes" in answers[2].document["message"]
    assert int(answers[2].headers["Retry-After"]) > 1
    assert asked(gateway, "deploy#other", "info").status == 200


def test_provision_sets_the_deployments_lambda_functions(
    portal: BlockingPortal, tmp_path: Path, ministack: Engine
) -> None:
    import boto3

    table = ministack.create_table()
    own, others = lambda_function(ministack), lambda_function(ministack)
    store = connected(portal, ministack.endpoint, table, "deploy#any")
    client = boto3.client("lambda", endpoint_url=ministack.endpoint, **client_options())
    with aws(ministack.endpoint, **CREDENTIALS), running_gateway(direct(table), tmp_path) as gateway:
        token = gateway.token("deploy#me", functions=(own, "missing-function"))
        neighbour = gateway.token("deploy#other", functions=(others,))

        def variables(name: str) -> dict[str, str]:
            found = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
            return dict(found)

        states = post(gateway.url, "info", {}, authorization=f"Bearer {token}").document["lambdaFunctions"]
        assert states == [{"name": own, "state": "stale"}, {"name": "missing-function", "state": "missing"}]
        made = post(gateway.url, "provision", {}, authorization=f"Bearer {token}").document
        assert made["lambdaFunctions"][0] == {"name": own, "state": "updated"}
        assert variables(own) == {"OTHER": "kept", "DYNAMODB_TABLE": table, "DYNAMODB_PREFIX": "deploy#me"}
        assert variables(others) == {"OTHER": "kept", "DYNAMODB_TABLE": "old"}
        assert post(gateway.url, "provision", {}, authorization=f"Bearer {neighbour}").status == 200
        assert variables(others)["DYNAMODB_PREFIX"] == "deploy#other"
        assert variables(own)["DYNAMODB_PREFIX"] == "deploy#me"
    portal.call(store.close)
