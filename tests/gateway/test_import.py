"""Import and `where` through a gateway: in batches, and within the tenant's budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.gateway.process import GatewayProcess, Operator

PREFIX = "deploy#alpha"


def lines(count: int, **attributes: object) -> str:
    return "".join(json.dumps({"pk": f"{PREFIX}#a", "sk": f"{at:05}", **attributes}) + "\n" for at in range(count))


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


def call(operator: Operator, gateway: GatewayProcess, token: str, *words: str) -> str:
    """What a tenant's command prints, which must succeed."""
    settings = {"DDB_MCP_API_URL": gateway.url, "DDB_MCP_AUTH_TOKEN": token, "DDB_MCP_LOCAL_PATH": ""}
    done = operator.run(*words, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def import_items(operator: Operator, gateway: GatewayProcess, token: str, text: str, *flags: str) -> str:
    file = operator.folder / "items.jsonl"
    file.write_text(text)
    return call(operator, gateway, token, "import", *flags, str(file))


def test_a_hundred_items_are_one_request(operator: Operator) -> None:
    token = operator.deployments("add", "alpha")
    with operator.serve() as gateway:
        assert "250 items imported" in import_items(operator, gateway, token, lines(250))
        said = import_items(operator, gateway, token, lines(260, new=True), "--create-only")
        assert "10 items imported, 250 items there already" in said
        count = json.loads(call(operator, gateway, token, "call", "query", f"pk={PREFIX}#a", "view=count"))["count"]
        assert count == 260
    puts = [entry for entry in gateway.requests() if entry["tool"] == "put"]
    assert [entry["status"] for entry in puts] == [200] * 6


def test_items_that_are_too_many_members_together_are_sent_alone(operator: Operator) -> None:
    token = operator.deployments("add", "alpha")
    with operator.serve() as gateway:
        wide = [{"pk": f"{PREFIX}#a", "sk": str(at), "n": [1] * 126_000} for at in range(2)]
        text = "".join(json.dumps(item, separators=(",", ":")) + "\n" for item in wide)
        assert "2 items imported" in import_items(operator, gateway, token, text)


def test_a_small_budget_makes_them_wait_and_nothing_is_lost(operator: Operator) -> None:
    operator.limits = {"ddb_mcp.gateway.budgets.BURST_SECONDS": 1}
    token = operator.deployments("add", "alpha", "--requests-per-second", "2")
    with operator.serve() as gateway:
        assert "900 items imported" in import_items(operator, gateway, token, lines(900))
        where = json.dumps({"pk": f"{PREFIX}#a"})
        deleted = json.loads(call(operator, gateway, token, "call", "delete", f"where={where}"))
        assert (deleted["deletedCount"], deleted["complete"]) == (900, True)
    for tool in ("put", "delete"):
        statuses = [entry["status"] for entry in gateway.requests() if entry["tool"] == tool]
        assert statuses.count(200) == 9
        assert 429 in statuses
