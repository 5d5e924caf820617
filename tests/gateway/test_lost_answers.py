"""Writes whose answer was lost on the way from the gateway: settled by reading where that decides it, else said so.

It never decides a conditional write, see `test_a_conditional_put_is_never_called_done_for_what_is_stored`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ddb_mcp.config.settings import PlatformSettings
from ddb_mcp.core.errors import DdbMcpError, OutcomeUnknown
from ddb_mcp.gateway import tenant_requests
from ddb_mcp.stores.base import Written
from ddb_mcp.stores.local.store import LocalStore
from ddb_mcp.stores.platform import api, store
from ddb_mcp.stores.platform.store import PlatformStore
from tests.gateway.conftest import PATH, Client
from tests.gateway.running import RunningGateway
from tests.support.faults import Answer, Cut, Fault, FaultProxy, Silence

PREFIX = "deploy#lost"
KEY = {"pk": PREFIX + "#a", "sk": "1"}
LOST = Cut(0, "reset")
NEVER_CAME = Answer(502, b"<html>", {"Content-Type": "text/html"})


@pytest.fixture
def proxy(gateway: RunningGateway) -> Iterator[FaultProxy]:
    with FaultProxy(gateway.url) as proxy:
        yield proxy


@pytest.fixture
def client(
    gateway: RunningGateway,
    proxy: FaultProxy,
    connect: Callable[[PlatformStore], Client],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Client:
    """Its parameter: how long it waits for an answer."""
    settings = PlatformSettings(api_url=proxy.endpoint, auth_token=gateway.token(PREFIX))
    monkeypatch.setattr(api, "PLATFORM_BACKOFF_SECONDS", 0.001)
    client = connect(PlatformStore(settings, attempt_seconds=getattr(request, "param", 25)))
    client.call("delete", **KEY)
    return client


def unknown(client: Client, operation: str, **arguments: Any) -> DdbMcpError:
    with pytest.raises(DdbMcpError) as caught:
        client.call(operation, **arguments)
    assert caught.value.code == "outcome_unknown"
    assert not caught.value.retryable
    return caught.value


def sent(proxy: FaultProxy, operation: str) -> int:
    return proxy.count(PATH + operation)


@pytest.mark.parametrize(
    ("fault", "client"),
    [(LOST, 25), (Cut(-3, "close"), 25), (Cut(0, "hang"), 3)],
    ids=["reset", "cut off", "silent"],
    indirect=["client"],
)
@pytest.mark.parametrize("condition", [{"create_only": True}, {"expect": {"n": {"exists": False}}}])
def test_a_conditional_put_is_never_called_done_for_what_is_stored(
    proxy: FaultProxy, client: Client, condition: dict[str, Any], fault: Fault
) -> None:
    """The stored item may be another client's: two that take the same lock write the same."""
    proxy.plan(fault, on=PATH + "put")
    assert "Get the item" in unknown(client, "put", item={**KEY, "n": 1}, **condition).next
    assert sent(proxy, "put") == 1
    assert client.call("get", **KEY)["item"] == {**KEY, "n": 1}


@pytest.mark.parametrize("condition", [{"create_only": True}, {"expect": {"n": {"exists": False}}}])
def test_a_conditional_put_that_was_not_seen_done_is_not_repeated(
    proxy: FaultProxy, client: Client, condition: dict[str, Any]
) -> None:
    proxy.plan(NEVER_CAME, on=PATH + "put")
    assert "Get the item" in unknown(client, "put", item={**KEY, "n": 1}, **condition).next
    assert sent(proxy, "put") == 1
    assert client.call("get", **KEY) == {"found": False}


@pytest.mark.parametrize("held", [1, 2])
def test_a_conditional_put_whose_key_somebody_else_has_is_unknown(proxy: FaultProxy, client: Client, held: int) -> None:
    client.call("put", item={**KEY, "n": held})
    proxy.plan(NEVER_CAME, on=PATH + "put")
    unknown(client, "put", item={**KEY, "n": 1}, create_only=True)
    assert client.call("get", **KEY)["item"]["n"] == held


def test_a_conditional_merge(proxy: FaultProxy, client: Client) -> None:
    client.call("put", item={**KEY, "version": 1, "old": True, "kept": 5})
    arguments = {"item": {**KEY, "version": 2}, "merge": True, "remove": ["old"], "expect": {"version": 1}}
    proxy.plan(NEVER_CAME, on=PATH + "put")
    unknown(client, "put", **arguments)
    assert client.call("get", **KEY)["item"]["version"] == 1
    proxy.plan(LOST, on=PATH + "put")
    unknown(client, "put", **arguments)
    assert client.call("get", **KEY)["item"] == {**KEY, "version": 2, "kept": 5}


def test_a_merge_is_settled_by_what_it_sets_and_removes(proxy: FaultProxy, client: Client) -> None:
    client.call("put", item={**KEY, "version": 1, "old": True, "kept": 5})
    arguments = {"item": {**KEY, "version": 2}, "merge": True, "remove": ["old"]}
    proxy.plan(NEVER_CAME, times=api.PLATFORM_ATTEMPTS, on=PATH + "put")
    unknown(client, "put", **arguments)
    client.call("put", item={**KEY, "version": 2}, merge=True)
    proxy.plan(NEVER_CAME, times=api.PLATFORM_ATTEMPTS, on=PATH + "put")
    unknown(client, "put", **arguments)
    proxy.plan(LOST, times=api.PLATFORM_ATTEMPTS, on=PATH + "put")
    assert client.call("put", **arguments) == KEY
    assert client.call("get", **KEY)["item"] == {**KEY, "version": 2, "kept": 5}


@pytest.mark.parametrize(
    ("fault", "client"),
    [(LOST, 25), (NEVER_CAME, 25), (Cut(-3, "close"), 25), (Cut(0, "hang"), 3)],
    ids=["reset", "never came", "cut off", "silent"],
    indirect=["client"],
)
@pytest.mark.parametrize("change", [{"add": {"n": 1}}, {"remove": ["list[0]"]}], ids=str)
def test_what_twice_would_make_another_is_sent_once(
    proxy: FaultProxy, client: Client, change: dict[str, Any], fault: Fault
) -> None:
    client.call("put", item={**KEY, "n": 1, "list": [0, 1, 2]})
    before = sent(proxy, "put"), sent(proxy, "get")
    proxy.plan(fault, on=PATH + "put")
    unknown(client, "put", item=KEY, **change)
    assert (sent(proxy, "put") - before[0], sent(proxy, "get") - before[1]) == (1, 0)
    stored = client.call("get", **KEY)["item"]
    done = (2, [0, 1, 2]) if "add" in change else (1, [1, 2])
    assert (stored["n"], stored["list"]) == (done if isinstance(fault, Cut) else (1, [0, 1, 2]))


def test_an_addition_that_was_surely_not_done_is_repeated(proxy: FaultProxy, client: Client) -> None:
    proxy.plan(Answer(429, {"error": "slow"}, {"Content-Type": "application/json"}), times=2, on=PATH + "put")
    assert client.call("put", item=KEY, add={"n": 1})["updated"] == {"n": 1}


@pytest.mark.parametrize("fault", [LOST, NEVER_CAME], ids=str)
def test_a_step_of_a_selection_whose_answer_was_lost_is_not_repeated(
    proxy: FaultProxy, client: Client, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(tenant_requests, "GATEWAY_WHERE_MAX", 10)
    client.call("put", items=[{**KEY, "sk": f"{at:02}", "n": 0} for at in range(30)])
    before = sent(proxy, "put")
    where = {"pk": KEY["pk"], "filter": {"n": 0}}
    assert client.call("put", where=where, item={"m": 1})["written"] == 30
    assert sent(proxy, "put") - before == 3
    proxy.plan(fault, on=PATH + "put")
    unknown(client, "put", where=where, add={"n": 1})
    assert sent(proxy, "put") - before == 4
    done = client.call("query", pk=KEY["pk"], filter={"n": 1}, view="count")["count"]
    assert done == (10 if isinstance(fault, Cut) else 0)
    client.call("delete", where={"pk": KEY["pk"]})
    assert client.call("query", pk=KEY["pk"], view="count")["count"] == 0


@pytest.mark.parametrize("fault", [LOST, NEVER_CAME], ids=str)
def test_a_move_of_which_a_step_was_lost_is_finished_by_the_same_call(
    proxy: FaultProxy, client: Client, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(tenant_requests, "GATEWAY_WHERE_MAX", 10)
    items = [{**KEY, "sk": f"{at:02}", "n": at} for at in range(30)]
    client.call("put", items=items)
    move = {"where": {"pk": KEY["pk"]}, "move_to": PREFIX + "#b"}
    proxy.plan(fault, on=PATH + "put")
    unknown(client, "put", **move)
    left = client.call("query", pk=KEY["pk"], view="count")["count"]
    assert left == (20 if isinstance(fault, Cut) else 30)
    assert client.call("put", **move) == {
        "matched": left,
        "complete": True,
        "written": left,
        "failedCount": 0,
        "failed": [],
    }
    assert client.call("query", pk=PREFIX + "#b")["items"] == [{**item, "pk": PREFIX + "#b"} for item in items]
    client.call("delete", where={"pk": PREFIX + "#b"})


def test_a_conditional_delete(proxy: FaultProxy, client: Client) -> None:
    client.call("put", item={**KEY, "n": 1})
    proxy.plan(NEVER_CAME, on=PATH + "delete")
    unknown(client, "delete", **KEY, expect={"n": 1})
    proxy.plan(LOST, on=PATH + "delete")
    unknown(client, "delete", **KEY, expect={"n": 1})
    assert client.call("get", **KEY) == {"found": False}
    assert sent(proxy, "delete") == 3  # the fixture's is one


def test_unconditional_writes_are_repeated_without_claims(proxy: FaultProxy, client: Client) -> None:
    proxy.plan(LOST, on=PATH + "put")
    assert client.call("put", item={**KEY, "n": 1}) == KEY  # the second attempt met the first one's item
    proxy.plan(NEVER_CAME, on=PATH + "put")
    assert client.call("put", item={**KEY, "sk": "new"}) == {**KEY, "sk": "new", "created": True}
    proxy.plan(LOST, on=PATH + "delete")
    assert client.call("delete", **KEY) == {}
    assert client.call("delete", **KEY) == {"deleted": False}
    client.call("delete", pk=KEY["pk"], sk="new")


def test_what_was_surely_not_done_is_repeated_though_conditional(proxy: FaultProxy, client: Client) -> None:
    proxy.plan(Answer(429, {"error": "slow"}, {"Content-Type": "application/json"}), times=2, on=PATH + "put")
    assert client.call("put", item={**KEY, "n": 1}, create_only=True)["created"] is True
    assert sent(proxy, "put") == 3


def test_when_nothing_can_be_read_either_the_outcome_is_unknown(
    proxy: FaultProxy, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SETTLE_SECONDS", 0.3)
    client.call("info")
    proxy.plan(LOST, times=api.PLATFORM_ATTEMPTS, on=PATH + "put")
    proxy.plan(Silence(), on=PATH + "get")
    unknown(client, "put", item={**KEY, "n": 1})
    assert client.call("get", **KEY)["found"] is True


JSON = {"Content-Type": "application/json"}
WORDS = {
    "error": "unavailable",
    "message": "The file is locked by another process; nothing was written.",
    "next": "Call again in a few seconds.",
}


@pytest.mark.parametrize("condition", [{}, {"create_only": True}])
def test_a_gateway_that_says_that_nothing_was_written_is_believed(
    proxy: FaultProxy, client: Client, condition: dict[str, Any]
) -> None:
    proxy.plan(Answer(503, WORDS, JSON), times=api.PLATFORM_ATTEMPTS, on=PATH + "put")
    with pytest.raises(DdbMcpError) as caught:
        client.call("put", item={**KEY, "n": 1}, **condition)
    assert caught.value.code == WORDS["error"]
    assert str(caught.value.quoted).startswith(WORDS["message"])
    proxy.plan(Answer(503, WORDS, JSON), on=PATH + "put")
    assert client.call("put", item={**KEY, "n": 1}, **condition)["created"] is True


def test_a_gateway_that_cannot_tell_has_a_code_for_it(proxy: FaultProxy, client: Client) -> None:
    words = {"error": "outcome_unknown", "message": "Whatever words.", "next": "Get the item."}
    proxy.plan(Answer(503, words, JSON), on=PATH + "put")
    error = unknown(client, "put", item={**KEY, "n": 1})
    assert error.quoted == "Whatever words. Get the item."
    assert sent(proxy, "put") == 1
    assert client.call("get", **KEY) == {"found": False}


def test_the_code_goes_over_the_wire(proxy: FaultProxy, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage whose outcome is unknown: status 503 and the code in the body, which is what the client goes by."""
    client.call("info")  # it is known whose gateway this is
    failure = OutcomeUnknown("Nobody knows.")

    async def fails(*arguments: Any) -> Written:
        raise failure

    monkeypatch.setattr(LocalStore, "put", fails)
    error = unknown(client, "put", item={**KEY, "n": 1}, create_only=True)
    assert "unknown" in error.message
    assert failure.message not in error.message, "what the storage words is the operator's"
    assert sent(proxy, "put") == 1


def test_a_platform_that_only_speaks_like_our_gateway_is_not_believed(proxy: FaultProxy, client: Client) -> None:
    document = {"tableName": "t", "prefix": PREFIX, "region": "r"}
    proxy.plan(Answer(200, document, JSON), on=PATH + "info")
    client.call("info")
    proxy.plan(Answer(503, WORDS, JSON), times=api.PLATFORM_ATTEMPTS, on=PATH + "put")
    error = unknown(client, "put", item={**KEY, "n": 1})
    assert WORDS["next"] not in error.next
    assert sent(proxy, "put") == api.PLATFORM_ATTEMPTS
