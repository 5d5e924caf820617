"""What networks and overloaded services do, over a real socket: each fault has its code, in bounded time, and the
store goes on afterwards."""

from __future__ import annotations

import json
import logging
import re
import time
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from ddb_mcp.core.errors import (
    ConditionFailed,
    DdbMcpError,
    InvalidArgument,
    NotProvisioned,
    OutcomeUnknown,
    Throttled,
    Timeout,
    Unauthenticated,
    Unavailable,
)
from ddb_mcp.core.filters import parse_filter
from ddb_mcp.core.keys import Key
from ddb_mcp.core.updates import Update
from ddb_mcp.stores.base import NO_CONDITION, Deleted, Read, StorePage, WriteCondition, Written
from ddb_mcp.stores.direct import aws as aws_module
from ddb_mcp.stores.direct import session
from ddb_mcp.stores.direct import session as aws_session
from ddb_mcp.stores.direct.store import DirectStore
from tests.direct.support import aws, direct
from tests.support.faults import Answer, Cut, Fault, FaultProxy, Silence, dynamodb_error, throttled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

    from anyio.from_thread import BlockingPortal

    from ddb_mcp.core.items import Item
    from tests.support.engines import Engine

pytestmark = pytest.mark.usefixtures("quick")
KEY = Key("deploy#me#p", "s")
ITEM = {"pk": {"S": KEY.pk}, "sk": {"S": KEY.sk}, "n": {"N": "1"}}
BARE = {"pk": ITEM["pk"], "sk": ITEM["sk"]}
OTHER = {**ITEM, "n": {"N": "2"}}
IS_ONE = WriteCondition(expect=parse_filter({"n": 1}, "expect"))
CREATE = WriteCondition(create_only=True)
QUERY = Read(pk=KEY.pk)
SCAN = Read(pk_prefix="deploy#me#")


@pytest.fixture
def store(dynoxide: Engine, proxy: FaultProxy) -> DirectStore:
    return direct(dynoxide.create_table())


def run(portal: BlockingPortal, call: Coroutine[Any, Any, Any]) -> Any:
    async def awaited() -> Any:
        return await call

    return portal.call(awaited)


async def every_item(listing: Callable[[Read], Awaitable[StorePage]], read: Read) -> list[Item]:
    """The items of all pages: a scan's first ones may be empty."""
    page = await listing(read)
    items = page.items
    while page.next is not None:
        page = await listing(read._replace(position=page.next))
        items += page.items
    return items


READS: dict[str, Any] = {
    "GetItem": lambda store: store.get(KEY),
    "Query": lambda store: every_item(store.query, QUERY),
    "Scan": lambda store: every_item(store.scan, SCAN),
}
FOUND = {"GetItem": ITEM, "Query": [ITEM], "Scan": [ITEM]}
WRITES: dict[str, Any] = {
    "PutItem": lambda store: store.put(OTHER, NO_CONDITION),
    "UpdateItem": lambda store: store.merge(Update(OTHER), NO_CONDITION),
    "DeleteItem": lambda store: store.delete(KEY, NO_CONDITION),
}


@pytest.mark.parametrize("operation", [*READS, *WRITES])
@pytest.mark.parametrize("fault", [throttled(), dynamodb_error("InternalServerError", 500)], ids=["throttled", "500"])
def test_what_passes_is_waited_out(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, operation: str, fault: Answer
) -> None:
    run(portal, store.put(ITEM, NO_CONDITION))
    requests, before = 1, proxy.count(operation)
    if operation in READS:
        run(portal, READS[operation](store))
        requests = proxy.count(operation) - before
    before = proxy.count(operation)
    proxy.plan(fault, times=3, on=operation)
    answer = run(portal, {**READS, **WRITES}[operation](store))
    expected = {
        **FOUND,
        "PutItem": Written(created=False),
        "UpdateItem": Written(created=False),
        "DeleteItem": Deleted(deleted=True, item=ITEM),
    }
    assert answer == expected[operation]
    assert proxy.count(operation) - before == requests + 3


@pytest.mark.parametrize("operation", [*READS, *WRITES])
def test_what_does_not_pass_is_given_up(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, operation: str
) -> None:
    proxy.plan(throttled(), times=aws_module.AWS_ATTEMPTS, on=operation)
    with pytest.raises(Throttled):
        run(portal, {**READS, **WRITES}[operation](store))
    assert proxy.count(operation) == aws_module.AWS_ATTEMPTS
    run(portal, {**READS, **WRITES}[operation](store))


@pytest.mark.parametrize("operation", [*READS, *WRITES])
def test_no_connection_is_unavailable_until_there_is_one(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, operation: str
) -> None:
    call = {**READS, **WRITES}[operation]
    proxy.refuse()
    with pytest.raises(Unavailable) as caught:
        run(portal, call(store))
    assert "unknown" not in caught.value.message
    proxy.accept()
    run(portal, call(store))


@pytest.mark.parametrize("operation", READS)
@pytest.mark.parametrize(
    "fault",
    [
        Cut(0, "close"),
        Cut(0, "reset"),
        Cut(60, "reset"),
        Cut(-1, "close"),
        Answer(200, b"<html>Sign in to the guest network</html>", {"Content-Type": "text/html"}),
        Answer(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"}),
    ],
    ids=["closed", "reset", "reset in the middle", "cut short", "a page", "a gateway's page"],
)
def test_half_an_answer_to_a_read_is_none(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, operation: str, fault: Any
) -> None:
    run(portal, store.put(ITEM, NO_CONDITION))
    proxy.plan(fault, on=operation)
    assert run(portal, READS[operation](store)) == FOUND[operation]
    proxy.plan(fault, times=aws_module.AWS_ATTEMPTS, on=operation)
    with pytest.raises(Unavailable):
        run(portal, READS[operation](store))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("operation", READS)
def test_silence_ends_in_bounded_time(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_module, "AWS_LAST_ATTEMPT_SECONDS", 0.5)
    proxy.plan(Silence(), times=10, on=operation)
    with pytest.raises(Timeout):
        run(portal, READS[operation](store))
    assert proxy.count(operation) <= 3


# Writes whose answer is lost

LOST = [Cut(0, "close"), Cut(0, "reset"), Cut(-1, "close"), Cut(20, "hang")]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", LOST, ids=str)
@pytest.mark.parametrize(
    ("operation", "write", "outcome", "stored"),
    [
        ("PutItem", lambda store: store.put(OTHER, NO_CONDITION), Written(None), OTHER),
        ("UpdateItem", lambda store: store.merge(Update(OTHER), NO_CONDITION), Written(None), OTHER),
        ("UpdateItem", lambda store: store.merge(Update(BARE, (("n",),)), NO_CONDITION), Written(None), BARE),
        ("DeleteItem", lambda store: store.delete(KEY, NO_CONDITION), Deleted(None), None),
    ],
    ids=["put", "merge", "merge remove", "delete"],
)  # fmt: skip
def test_a_write_that_was_done_is_done_once_and_said_so(
    portal: BlockingPortal,
    proxy: FaultProxy,
    store: DirectStore,
    fault: Cut,
    operation: str,
    write: Any,
    outcome: Any,
    stored: Any,
) -> None:
    run(portal, store.put(ITEM, NO_CONDITION))
    before = proxy.count(operation)
    proxy.plan(fault, on=operation)
    assert run(portal, write(store)) == outcome
    assert proxy.count(operation) - before == 1
    assert run(portal, store.get(KEY)) == stored


ONE_MORE = Update(BARE, add={"n": {"N": "1"}})
UNREPEATABLE: dict[str, tuple[Update, Item]] = {
    "add": (ONE_MORE, OTHER),
    "remove a position": (
        Update(BARE, remove=(("list", 0),)),
        {**ITEM, "list": {"L": [{"N": "1"}, {"N": "2"}]}},
    ),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", [*LOST, dynamodb_error("InternalServerError", 500)], ids=str)
@pytest.mark.parametrize("update", UNREPEATABLE)
def test_what_twice_would_make_another_is_sent_once_and_its_outcome_unknown(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, fault: Fault, update: str
) -> None:
    """A read settles nothing: the stored value may be what this write made, or what another one did."""
    wanted, after = UNREPEATABLE[update]
    before: Item = {**ITEM, "list": {"L": [{"N": "0"}, {"N": "1"}, {"N": "2"}]}} if "list" in after else ITEM
    run(portal, store.put(before, NO_CONDITION))
    asked, read = proxy.count("UpdateItem"), proxy.count("GetItem")
    proxy.plan(fault, on="UpdateItem")
    with pytest.raises(OutcomeUnknown):
        run(portal, store.merge(wanted, NO_CONDITION))
    assert proxy.count("UpdateItem") - asked == 1
    assert proxy.count("GetItem") == read
    assert run(portal, store.get(KEY)) == (after if isinstance(fault, Cut) else before)


def test_an_addition_that_was_surely_not_done_is_repeated(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore
) -> None:
    run(portal, store.put(ITEM, NO_CONDITION))
    proxy.plan(throttled(), times=2, on="UpdateItem")
    assert run(portal, store.merge(ONE_MORE, NO_CONDITION)).updated == {"n": {"N": "2"}}
    assert proxy.count("UpdateItem") == 3


def test_a_missing_parent_is_looked_at_once_and_the_rest_is_done_if_it_still_is_missing(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore
) -> None:
    """DynamoDB refuses the whole update: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html"""
    run(portal, store.put(ITEM, NO_CONDITION))
    refusal = dynamodb_error(
        "ValidationException", message="The document path provided in the update expression is invalid for update"
    )
    update = Update({**BARE, "m": {"N": "5"}}, remove=(("a", "b"), ("n",)), add={"k": {"N": "1"}})
    proxy.plan(refusal, on="UpdateItem")
    written = run(portal, store.merge(update, NO_CONDITION))
    assert written.absent == (("a", "b"),)
    assert written.dropped == {("n",): {"N": "1"}}
    assert written.updated == {"k": {"N": "1"}}
    assert [request.operation for request in proxy.requests[-3:]] == ["UpdateItem", "GetItem", "UpdateItem"]
    assert b"attribute_not_exists" in proxy.requests[-1].body
    assert run(portal, store.get(KEY)) == {**BARE, "m": {"N": "5"}, "k": {"N": "1"}}


def test_a_parent_that_came_meanwhile_is_seen(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: Item = {**ITEM, "a": {"M": {"b": {"N": "1"}, "c": {"N": "2"}}}}
    run(portal, store.put(ITEM, NO_CONDITION))
    proxy.plan(dynamodb_error("ValidationException"), on="UpdateItem")
    get = store.get

    async def get_before_another_writes(*given: Any) -> Item | None:
        seen = await get(*given)
        await store.put(whole, NO_CONDITION)
        return seen

    monkeypatch.setattr(store, "get", get_before_another_writes)
    written = run(portal, store.merge(Update(BARE, remove=(("a", "b"),)), NO_CONDITION))
    assert written.dropped == {("a", "b"): {"N": "1"}}
    assert run(portal, get(KEY)) == {**ITEM, "a": {"M": {"c": {"N": "2"}}}}


def test_what_is_refused_for_another_reason_is_refused(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore
) -> None:
    run(portal, store.put({**ITEM, "a": {"M": {"b": {"N": "1"}}}}, NO_CONDITION))
    for remove, requests in (((("a", "b"),), 1), ((("a", "x"),), 2), ((("n",),), 1)):
        asked = proxy.count("UpdateItem")
        proxy.plan(dynamodb_error("ValidationException", message="Item size has exceeded"), requests, "UpdateItem")
        with pytest.raises(InvalidArgument, match="400 KB"):
            run(portal, store.merge(Update(BARE, remove=remove), NO_CONDITION))
        assert proxy.count("UpdateItem") - asked == requests


CONDITIONAL: dict[str, tuple[str, Any, Item | None, Item | None]] = {  # with what is stored before, and wanted
    "create": ("PutItem", lambda store: store.put(ITEM, CREATE), None, ITEM),
    "put expect": ("PutItem", lambda store: store.put(OTHER, IS_ONE), ITEM, OTHER),
    "merge expect": ("UpdateItem", lambda store: store.merge(Update(BARE, (("n",),)), IS_ONE), ITEM, BARE),
    "delete expect": ("DeleteItem", lambda store: store.delete(KEY, IS_ONE), ITEM, None),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", LOST, ids=str)
@pytest.mark.parametrize(("operation", "write", "before", "wanted"), CONDITIONAL.values(), ids=CONDITIONAL)
def test_whose_work_a_conditional_write_was_cannot_be_seen(
    portal: BlockingPortal,
    proxy: FaultProxy,
    store: DirectStore,
    fault: Cut,
    operation: str,
    write: Any,
    before: Item | None,
    wanted: Item | None,
) -> None:
    if before:
        run(portal, store.put(before, NO_CONDITION))
    asked = proxy.count(operation)
    proxy.plan(fault, on=operation)
    with pytest.raises(OutcomeUnknown) as caught:
        run(portal, write(store))
    assert "another client may have written" in caught.value.next
    assert proxy.count(operation) - asked == 1
    assert run(portal, store.get(KEY)) == wanted


@pytest.mark.parametrize(("operation", "write", "before", "wanted"), CONDITIONAL.values(), ids=CONDITIONAL)
def test_a_lock_that_another_holds_is_not_taken_by_an_error(
    portal: BlockingPortal,
    proxy: FaultProxy,
    store: DirectStore,
    operation: str,
    write: Any,
    before: Item | None,
    wanted: Item | None,
) -> None:
    """The state is as wanted already, by another's hand, and our write was not carried out."""
    if wanted:
        run(portal, store.put(wanted, NO_CONDITION))
    asked = proxy.count(operation)
    proxy.plan(dynamodb_error("InternalServerError", 500), on=operation)
    with pytest.raises(OutcomeUnknown):
        run(portal, write(store))
    assert proxy.count(operation) - asked == 1
    with pytest.raises(ConditionFailed):
        run(portal, write(store))


def test_a_third_s_work_does_not_show_that_a_conditional_write_was_not_done(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore
) -> None:
    run(portal, store.put({**ITEM, "n": {"N": "3"}}, NO_CONDITION))
    proxy.plan(dynamodb_error("InternalServerError", 500), on="PutItem")
    with pytest.raises(OutcomeUnknown):
        run(portal, store.put(OTHER, IS_ONE))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("condition", [NO_CONDITION, CREATE, IS_ONE], ids=["put", "create", "expect"])
@pytest.mark.parametrize(
    "fault", [Silence(), Answer(504, b"<html>Gateway timeout</html>", {"Content-Type": "text/html"})], ids=str
)
def test_a_write_that_cannot_be_seen_has_an_unknown_outcome(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, condition: WriteCondition, fault: Any
) -> None:
    if condition is IS_ONE:
        run(portal, store.put(ITEM, NO_CONDITION))
    before = proxy.count("PutItem")
    proxy.plan(fault, on="PutItem")
    with pytest.raises(OutcomeUnknown) as caught:
        run(portal, store.put(OTHER, condition))
    assert "Get the item" in caught.value.next
    assert proxy.count("PutItem") - before == 1


def test_a_write_is_unknown_where_the_item_cannot_be_read_either(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore
) -> None:
    proxy.plan(Cut(0), on="PutItem")
    proxy.plan(throttled(), times=aws_module.AWS_ATTEMPTS, on="GetItem")
    with pytest.raises(OutcomeUnknown):
        run(portal, store.put(ITEM, CREATE))
    assert run(portal, store.get(KEY)) == ITEM


@pytest.mark.parametrize(("operation", "write", "before", "wanted"), CONDITIONAL.values(), ids=CONDITIONAL)
def test_a_conditional_write_that_failed_on_the_service_s_side_is_repeated(
    portal: BlockingPortal,
    proxy: FaultProxy,
    store: DirectStore,
    operation: str,
    write: Any,
    before: Item | None,
    wanted: Item | None,
) -> None:
    if before:
        run(portal, store.put(before, NO_CONDITION))
    proxy.plan(dynamodb_error("InternalServerError", 500), on=operation)
    run(portal, write(store))
    assert run(portal, store.get(KEY)) == wanted


def test_a_creation_that_was_repeated_says_what_it_did(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore
) -> None:
    proxy.plan(dynamodb_error("InternalServerError", 500), on="PutItem")
    assert run(portal, store.put(ITEM, CREATE)) == Written(created=True)
    with pytest.raises(ConditionFailed) as caught:
        run(portal, store.put(OTHER, CREATE))
    assert caught.value.item == ITEM


# Between two calls


def test_a_table_deleted_between_two_calls(
    portal: BlockingPortal, dynoxide: Engine, proxy: FaultProxy, store: DirectStore
) -> None:
    run(portal, store.put(ITEM, NO_CONDITION))
    dynoxide.client().delete_table(TableName=store._table)
    for call in ({**READS, **WRITES}).values():
        with pytest.raises(NotProvisioned, match=store._table):
            run(portal, call(store))
    assert run(portal, store.info()).provisioned is False
    assert run(portal, store.provision(_quiet)).created is True
    assert run(portal, store.put(ITEM, NO_CONDITION)) == Written(created=True)


async def _quiet(message: str) -> None:
    pass


def test_credentials_that_expire_are_read_once_more(portal: BlockingPortal, dynoxide: Engine, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    profile = "[work]\naws_access_key_id = {}\naws_secret_access_key = secret-of-{}\naws_session_token = token\n"
    file.write_text(profile.format("FIRSTKEY", 1))
    variables = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_PROFILE": "work"}
    store = direct(dynoxide.create_table())
    with FaultProxy(dynoxide.endpoint) as proxy, aws(proxy.endpoint, **variables):
        run(portal, store.put(ITEM, NO_CONDITION))
        expired = dynamodb_error("ExpiredTokenException")

        proxy.plan(expired, times=2)
        with pytest.raises(Unauthenticated) as caught:
            run(portal, store.get(KEY))
        assert "aws sso login --profile work" in caught.value.next
        assert "secret" not in str(caught.value.to_json())

        file.write_text(profile.format("SECONDKEY", 2))
        proxy.plan(expired)
        assert run(portal, store.get(KEY)) == ITEM
        used = [re.findall(r"Credential=(\w+)/", request.headers["Authorization"])[0] for request in proxy.requests]
        assert used == ["FIRSTKEY"] * 5 + ["SECONDKEY"]


# One client


def test_one_client_and_one_connection_for_life(portal: BlockingPortal, proxy: FaultProxy, store: DirectStore) -> None:
    for _ in range(20):
        run(portal, store.put(ITEM, NO_CONDITION))
        run(portal, store.get(KEY))
        run(portal, store.query(QUERY))
    assert proxy.connections == 1


def test_concurrent_first_calls_make_one_client(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    make = aws_session.make_client

    def counted(*arguments: Any) -> Any:
        made.append(arguments)
        return make(*arguments)

    monkeypatch.setattr(aws_session, "make_client", counted)
    for _ in range(2):
        wait([portal.start_task_soon(store.get, KEY) for _ in range(100)])
    assert len(made) == 1
    assert proxy.count("GetItem") == 200
    assert proxy.connections <= session.AWS_CONNECTIONS


def test_a_call_that_waits_can_be_cancelled(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "AWS_READ_SECONDS", 300.0)
    proxy.plan(Silence(), times=10)

    async def cancelled() -> bool:
        with anyio.move_on_after(0.3) as scope:
            await store.scan(SCAN)
        return scope.cancelled_caught

    begun = time.monotonic()
    assert portal.call(cancelled) is True
    assert time.monotonic() - begun < 200


def test_a_failure_ends_a_wave_as_it_is(portal: BlockingPortal, proxy: FaultProxy, store: DirectStore) -> None:
    proxy.plan(throttled(), times=1000, on="Scan")
    with pytest.raises(DdbMcpError) as caught:
        run(portal, store.scan(Read(pk_prefix="deploy#me#", position=[8, 5000, 0, {str(at): None for at in range(8)}])))
    assert type(caught.value) is Throttled


def test_no_secret_and_no_item_is_logged(
    portal: BlockingPortal, dynoxide: Engine, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = direct(dynoxide.create_table())
    caplog.clear()
    secrets = {"AWS_ACCESS_KEY_ID": "IDOFKEY", "AWS_SECRET_ACCESS_KEY": "hushhush", "AWS_SESSION_TOKEN": "tokentoken"}
    with aws(proxy.endpoint, **secrets):
        run(portal, store.put({**ITEM, "note": {"S": "private"}}, NO_CONDITION))
        run(portal, store.get(KEY))
        proxy.plan(throttled(), times=2)
        proxy.plan(Cut(-1), on="Query")
        run(portal, store.query(QUERY))
        proxy.plan(dynamodb_error("ExpiredTokenException"), times=2)
        with pytest.raises(Unauthenticated):
            run(portal, store.get(KEY))
    assert any(b"private" in request.body for request in proxy.requests)
    for word in ("IDOFKEY", "hushhush", "tokentoken", "private"):
        assert word not in caplog.text


def test_a_write_without_room_asks_for_no_old_item(
    store: DirectStore, proxy: FaultProxy, portal: BlockingPortal
) -> None:
    async def act(room: int | None) -> None:
        await store.put(ITEM, CREATE, room=room)
        await store.merge(Update(OTHER, (), {}), IS_ONE, room=room)
        with pytest.raises(ConditionFailed) as failed:
            await store.delete(KEY, IS_ONE, room=room)
        assert failed.value.exists
        assert (await store.delete(KEY, NO_CONDITION, room=room)).deleted is (None if room == 0 else True)
        assert await store.get(KEY) is None

    for room, values in ((0, "NONE"), (100, "ALL_OLD")):
        begin = len(proxy.requests)
        portal.call(act, room)
        bodies = [json.loads(request.body) for request in proxy.requests[begin:] if request.operation != "GetItem"]
        assert [body["ReturnValues"] for body in bodies] == [values] * 4
