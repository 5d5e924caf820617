"""What hostile clients send.

`CALLS` has calls of tools, for every interface of the tools. `MESSAGES`, `TENANT`, `NOBODY`, `HANDSHAKES` and
`ENDPOINT` have what is for one interface alone. `targets.fill` stores the items that they name.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

API = "/api/data/dynamodb/"
ATTACKERS = 8
CHURN_SECONDS = ATTACKERS / 5000
"""Between two connections of one attacker: 5,000 a second in all."""


class Tenant(NamedTuple):
    prefix: str
    token: str | None


@dataclass(frozen=True)
class Target:
    """Where a server is, and the tenants (or nobody) in whose name it is attacked."""

    port: int
    tenants: tuple[Tenant, ...]

    def connect(self, source: int = 0) -> socket.socket:
        """A connection from one of many loopback addresses."""
        return socket.create_connection(("127.0.0.1", self.port), 5, source_address=(f"127.0.1.{source % 250 + 1}", 0))


Attack = Callable[[Target, int], None]
"""Runs in a process of its own, whose number it is given, until it is killed."""
Requests = Callable[[Tenant], Sequence[bytes]]
Call = tuple[str, dict[str, Any]]


def post(path: str, body: bytes, token: str | None, *more: str, length: int | None = None) -> bytes:
    """A whole request; with `length`, as much of one as `body` has."""
    head = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        "Accept: application/json",
        f"Content-Length: {len(body) if length is None else length}",
        *([f"Authorization: Bearer {token}"] if token else []),
        *more,
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def document(**members: Any) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def over_api(call: Call, tenant: Tenant) -> bytes:
    return post(API + call[0], document(**call[1]), tenant.token, "Connection: close")


def message(call: Call, **more: Any) -> bytes:
    params = {"name": call[0], "arguments": call[1], **more}
    return document(jsonrpc="2.0", id=1, method="tools/call", params=params)


def over_mcp(call: Call, tenant: Tenant) -> bytes:
    return post("/mcp", message(call), tenant.token, "Connection: close")


def posting(requests: Requests, width: int = 1) -> Callable[[Target], Attack]:
    """Requests one after the other, over `width` connections at once in each process."""

    def prepare(target: Target) -> Attack:
        prepared = [requests(tenant) for tenant in target.tenants]

        def send_all(target: Target, number: int) -> None:
            while True:
                for request in prepared[number % len(prepared)]:
                    with contextlib.suppress(OSError), target.connect(number) as connection:
                        connection.settimeout(60)
                        connection.sendall(request)
                        while connection.recv(1 << 20):
                            pass

        def attack(target: Target, number: int) -> None:
            for _ in range(width - 1):
                threading.Thread(target=send_all, args=(target, number), daemon=True).start()
            send_all(target, number)

        return attack

    return prepare


def holding(count: int, begin: Requests, drip: bytes = b"", *, shut: bool = False) -> Callable[[Target], Attack]:
    """`count` connections in all that send `begin`, then `drip` each second, and read nothing."""

    def attack(target: Target, number: int) -> None:
        held: list[socket.socket] = []
        prepared = [begin(tenant)[0] for tenant in target.tenants]
        while True:
            with contextlib.suppress(OSError):
                while len(held) < count // ATTACKERS:
                    held.append(connection := target.connect(len(held)))
                    connection.sendall(prepared[len(held) % len(prepared)])
                    if shut:
                        connection.shutdown(socket.SHUT_WR)
            time.sleep(1)
            for connection in list(held):
                try:
                    connection.sendall(drip)
                except OSError:
                    held.remove(connection)
                    connection.close()

    return lambda target: attack


def flooding(count: int, request: bytes, *, reads: bool = True) -> Callable[[Target], Attack]:
    """`count` connections in all, each full of requests that do not wait for answers."""
    data = request * (256_000 // len(request) + 1)

    def attack(target: Target, number: int) -> None:
        with selectors.DefaultSelector() as selector:
            events = selectors.EVENT_WRITE | (selectors.EVENT_READ if reads else 0)
            while True:
                while len(selector.get_map()) < max(1, count // ATTACKERS):
                    with contextlib.suppress(OSError):
                        connection = target.connect(number)
                        connection.setblocking(False)
                        selector.register(connection, events, [data])
                for key, event in selector.select(1):
                    assert isinstance(key.fileobj, socket.socket)
                    if not _push(key.fileobj, key.data, event, data):
                        selector.unregister(key.fileobj)
                        key.fileobj.close()

    return lambda target: attack


def _push(connection: socket.socket, rest: list[bytes], event: int, data: bytes) -> bool:
    """Send and read what is possible now. Returns whether the connection still stands."""
    with contextlib.suppress(BlockingIOError):
        try:
            if event & selectors.EVENT_READ and not connection.recv(1 << 20):
                return False
            if event & selectors.EVENT_WRITE:
                rest[0] = rest[0][connection.send(rest[0]) :] or data
        except BlockingIOError:
            raise
        except OSError:
            return False
    return True


def churning(request: bytes = b"") -> Callable[[Target], Attack]:
    """5,000 connections a second, each reset at once."""

    def attack(target: Target, number: int) -> None:
        while True:
            with contextlib.suppress(OSError), target.connect(number) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(request)
            time.sleep(CHURN_SECONDS)

    return lambda target: attack


# What the tools are sent. Each row: the calls of a tenant with this prefix, sent in turn.

NAMES = {f"n{at}": 1 for at in range(330_000)}
# As many members as an item of 400 KB can have in a map and a list; a list of numbers; names that difflib is slow with.
WIDE = {"m": {f"a{at}": None for at in range(30_000)}, "l": [None] * 70_000}
LONG = {"l": [0] * 18_000}
SIMILAR = [f"{'abcdefghij' * 9}{at:03}" for at in range(1300)]
MANY, WIDE_ITEMS = 1000, 100


def _key(prefix: str, kind: str, at: int = 0) -> dict[str, str]:
    return {"pk": f"{prefix}#{kind}", "sk": f"{at:04}"}


def _batch(prefix: str, kind: str, **members: Any) -> list[dict[str, Any]]:
    return [{**_key(prefix, kind, at), **members} for at in range(100)]


def _get(kind: str, attributes: list[Any]) -> Callable[[str], list[Call]]:
    return lambda prefix: [("get", {**_key(prefix, kind), "attributes": attributes})]


def _query(kind: str, **arguments: Any) -> Callable[[str], list[Call]]:
    return lambda prefix: [("query", {"pk": f"{prefix}#{kind}", **arguments})]


def _summary(kind: str) -> Callable[[str], list[Call]]:
    return lambda prefix: [("scan", {"pk_prefix": f"{prefix}#{kind}", "view": "summary"})]


def _put(kind: str, members: dict[str, Any], **arguments: Any) -> Callable[[str], list[Call]]:
    return lambda prefix: [("put", {"item": {**_key(prefix, kind), **members}, **arguments})]


def _puts(kind: str, members: dict[str, Any], **arguments: Any) -> Callable[[str], list[Call]]:
    return lambda prefix: [("put", {"items": _batch(prefix, kind, **members), **arguments})]


def _where(kind: str, **arguments: Any) -> Callable[[str], list[Call]]:
    return lambda prefix: [("put", {"where": {"pk": f"{prefix}#{kind}"}, **arguments})]


def _nested(depth: int, breadth: int) -> Any:
    value: Any = [None] * breadth
    for _ in range(depth):
        value = [*([None] * breadth), value]
    return value


_OR = {"$or": [{"l": {"contains": at}, "m.a1": {"ne": at}} for at in range(10)]}
_NUMBERS = {"NS": [str(at) for at in range(15_000)]}
CALLS: dict[str, Callable[[str], list[Call]]] = {
    "hint: 1,000 absent attributes": _get("names", SIMILAR[300:]),
    "hint: 1,000 absent paths, many items": _query("maps", attributes=[f"m.{n}" for n in SIMILAR[300:]], limit=1000),
    "hint: a filter that nothing matches": _query("wide", filter=_OR),
    "parts: 200 of a text to be escaped": _get("controls", [f"text[{at}:190000]" for at in range(200)]),
    "parts: 1,000 of one text": _get("text", [f"body[{at}:{at + 5000}]" for at in range(1000)]),
    "batch: conditions fail on wide items": _puts("wide", {"n": 1}, expect={"n": 1}),
    "batch: merges into wide items": _puts("wide", {"n": 1}, merge=True),
    "batch: add to wide items": _puts("wide", {}, add={"count": 1}),
    "batch: over wide items, once": _puts("wide", {"n": 1}),
    "batch: deletes that fail": lambda prefix: [("delete", {"keys": _batch(prefix, "wide"), "expect": {"n": 1}})],
    "expect: 50 absent attributes": _put("wide", {}, expect={f"a{at}": at for at in range(50)}),
    "remove: 1,000 paths": _put("wide", {}, remove=[f"m.a{at}" for at in range(1000)]),
    "remove: 1,000 absent paths": _put("wide", {}, remove=[f"m.{name}" for name in SIMILAR[:1000]]),
    "remove: 500,000 names": _put("a", {}, remove=["n"] * 500_000),
    "add: a set to a set": _put("sets", {}, add={"s": _NUMBERS}),
    "where: add to 1,000 items": _where("many", add={"n": 1}),
    "where: set in wide items": _where("wide", item={"n": 1}),
    "where: copies of wide items": lambda p: _where("wide", copy_to=f"{p}#copy")(p),
    "where: wide items counted": lambda p: [("delete", {"where": {"pk": f"{p}#wide", "filter": _OR}, "dry_run": True})],
    "cursor: 3.9 million characters": _query("a", cursor="A" * 3_900_000),
    "attributes: 1.9 million": _get("a", [1] * 1_900_000),
    "attributes: 1,000 of a wide item": _get("wide", [f"m.a{at}" for at in range(1000)]),
    "arguments: 330,000 unknown": lambda prefix: [("get", NAMES)],
    "filter: 330,000 names": _query("a", filter=NAMES),
    "filter: in 100 long lists": _query("long", filter={"l": {"in": [[0] * 18_000 for _ in range(100)]}}),
    "filter: 200 clauses over wide items": _query("wide", filter={f"l[{at}]": {"type": "S"} for at in range(200)}),
    "filter: contains, over wide items": _query("wide", filter={"l": {"contains": 1}}),
    "item: 1.3 million lists": _put("a", {"l": [[]] * 1_300_000}),
    "item: nested 30 deep, wide": _put("deep", {"l": _nested(28, 3000)}),
    "item: 200,000 empty lists": _put("a", {"l": [[]] * 200_000}),
    "item: text of JSON, escaped": lambda p: [("put", {"item": json.dumps({**_key(p, "a"), "t": "\u0001" * 390_000})})],
    "items: wide ones stored": _put("stored", WIDE),
    "items: wide ones got": _get("wide", []),
    "items: wide ones shown": _query("wide", limit=1000),
    "items: wide ones counted": _summary("wide"),
    "items: long ones shown": _query("long", limit=1000),
    "items: long ones counted": _summary("long"),
    "items: names of 60 KB counted": _summary("long-names"),
    "items: names of 60 KB shown": _query("long-names", limit=1000),
}

# Over HTTP, besides the calls.

_DIGITS = b'{"item":{"pk":"deploy#loud#a","sk":"1","n":' + b"9" * 3_900_000 + b"}}"
_SMALL = ("get", {"pk": "deploy#loud#a", "sk": "1"})
_BRACKETS = b"[" * 3_900_000


def _to_mcp(body: bytes) -> Requests:
    return lambda tenant: [post("/mcp", body, tenant.token, "Connection: close")]


def _members(**members: Any) -> bytes:
    return document(jsonrpc="2.0", id=1, method="tools/call", params={"name": "get", "arguments": _SMALL[1]}, **members)


_HANDSHAKE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"experimental": {f"x{at}": {} for at in range(140_000)}},
    "clientInfo": {"name": "x", "version": "1"},
}
MESSAGES: dict[str, Callable[[Target], Attack]] = {
    "mcp: _meta of 290,000 members": posting(_to_mcp(message(_SMALL, _meta={f"m{at}": [] for at in range(140_000)}))),
    "mcp: params of 290,000 members": posting(_to_mcp(message(_SMALL, x=[0] * 290_000))),
    "mcp: 290,000 members outside params": posting(_to_mcp(_members(x=[0] * 290_000))),
    "mcp: a text of 3.9 MB in _meta": posting(_to_mcp(message(_SMALL, _meta={"x": "\u0001" * 640_000}))),
    "mcp: params.name of 3.9 MB": posting(_to_mcp(message(("n" * 3_900_000, {})))),
    "mcp: an id of 3.9 MB": posting(_to_mcp(document(jsonrpc="2.0", id="n" * 3_900_000, method="ping"))),
    "mcp: an id of 3.9 MB, not JSON": posting(_to_mcp(b'{"jsonrpc":"2.0","id":"' + b"a" * 3_900_000)),
    "mcp: a method of 3.9 MB": posting(_to_mcp(document(jsonrpc="2.0", id=1, method="n" * 3_900_000))),
    "mcp: initialize, large capabilities": posting(
        _to_mcp(document(jsonrpc="2.0", id=1, method="initialize", params=_HANDSHAKE))
    ),
    "mcp: 3.9 million brackets": posting(_to_mcp(_BRACKETS)),
    "mcp: tools/list, as fast as it goes": posting(_to_mcp(document(jsonrpc="2.0", id=1, method="tools/list")), 4),
}


def _body_stalls(tenant: Tenant) -> list[bytes]:
    return [post(API + "put", b"x" * 3_800_000, tenant.token, length=3_900_000)]


def _body_is_slow(tenant: Tenant) -> list[bytes]:
    return [post(API + "put", b"{", tenant.token, length=3_900_000)]


def _continues(tenant: Tenant) -> list[bytes]:
    return [post(API + "put", b"", tenant.token, "Expect: 100-continue", length=3_900_000)]


def _unread(tenant: Tenant) -> list[bytes]:
    body = document(pk=tenant.prefix + "#long", max_bytes=5_000_000, limit=1000)
    return [post(API + "query", body, tenant.token)]


def _widest(tenant: Tenant) -> list[bytes]:
    return [over_api(call, tenant) for call in CALLS["items: wide ones stored"](tenant.prefix)]


TENANT: dict[str, Callable[[Target], Attack]] = {
    "a number of 3.9 million digits": posting(
        lambda tenant: [post(API + "put", _DIGITS, tenant.token, "Connection: close")]
    ),
    "a body of 3.9 million brackets": posting(
        lambda tenant: [post(API + "put", _BRACKETS, tenant.token, "Connection: close")]
    ),
    "64 long conversions queued": posting(_widest, 8),
    "300 bodies that stall": holding(300, _body_stalls),
    "600 slow bodies": holding(600, _body_is_slow, b" "),
    "600 waits for 100 Continue": holding(600, _continues),
    "300 answers that nobody reads": holding(300, _unread),
    "300 half-closed, answers unread": holding(300, _unread, shut=True),
}

# Without a token.

_TINY = b"GET / HTTP/1.1\r\n\r\n"
_MADE_UP = post(API + "get", b"{}", "ddbmcp_quiet_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
_HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
NOBODY: dict[str, Callable[[Target], Attack]] = {
    "pipelined, 20 connections": flooding(20, _TINY),
    "pipelined, 500 connections": flooding(500, _TINY),
    "pipelined, never read": flooding(20, _TINY, reads=False),
    "pipelined POSTs": flooding(20, b"POST /mcp HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"),
    "pipelined /health": flooding(20, _HEALTH),
    "pipelined, made-up tokens": flooding(20, _MADE_UP),
    "HTTP/1.0, 64 at once": posting(lambda tenant: [b"GET / HTTP/1.0\r\n\r\n"], 8),
    "1,200 slow heads": holding(1200, lambda tenant: [b"POST "], b"x"),
    "1,200 heads of one header": holding(1200, lambda tenant: [b"GET / HTTP/1.1\r\nx: " + b"y" * 16_000], b"y"),
    "600 slow bodies": holding(600, lambda tenant: [post(API + "put", b"{", None, length=3_900_000)], b" "),
    "600 slow chunked bodies": holding(
        600, lambda tenant: [b"POST /mcp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"], b"1\r\nx\r\n"
    ),
    "600 half-closed": holding(600, lambda tenant: [_HEALTH], shut=True),
    "600 waits for 100 Continue": holding(
        600, lambda tenant: [post("/mcp", b"", None, "Expect: 100-continue", length=3_900_000)]
    ),
    "5,000 connections a second": churning(),
    "5,000 reset requests a second": churning(_HEALTH),
}
HANDSHAKES: dict[str, Callable[[Target], Attack]] = {
    "1,200 handshakes not begun": holding(1200, lambda tenant: [b""]),
    "1,200 handshakes left open": holding(1200, lambda tenant: [b"\x16\x03\x01\x02\x00\x01\x00"], b"x"),
    "5,000 connections a second": churning(b"\x16\x03\x01\x02\x00\x01\x00"),
}

# Over DynamoDB's protocol.

SIGNATURE = "Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/dynamodb/aws4_request, Signature=x"
TABLE = "ddb-mcp-local"


def over_dynamodb(operation: str, body: bytes, *more: str, length: int | None = None) -> bytes:
    return post("/", body, None, SIGNATURE, f"X-Amz-Target: DynamoDB_20120810.{operation}", *more, length=length)


def _operation(operation: str, **request: Any) -> Callable[[Target], Attack]:
    return posting(lambda tenant: [over_dynamodb(operation, document(**request), "Connection: close")])


def _body(operation: str, body: Callable[[], bytes], width: int = 1) -> Callable[[Target], Attack]:
    return posting(lambda tenant: [over_dynamodb(operation, body(), "Connection: close")], width)


def typed_key(kind: str, at: int = 0) -> dict[str, Any]:
    return {name: {"S": text} for name, text in _key("deploy#loud", kind, at).items()}


def _item(value: bytes) -> Callable[[], bytes]:
    head = document(TableName=TABLE, Item={**typed_key("a"), "l": 0})
    return lambda: head.replace(b'"l":0', b'"l":' + value)


def _transaction(**update: Any) -> list[dict[str, Any]]:
    return [{"Update": {"TableName": TABLE, "Key": typed_key("wide", at), **update}} for at in range(100)]


def _new_tables(target: Target) -> Attack:
    def requests() -> Iterator[bytes]:
        for at in range(1_000_000):
            yield over_dynamodb("GetItem", document(TableName=f"made-up-{at}", Key=typed_key("a")), "Connection: close")

    def attack(target: Target, number: int) -> None:
        for request in requests():
            with contextlib.suppress(OSError), target.connect(number) as connection:
                connection.sendall(request)
                connection.recv(1 << 16)

    return attack


_READ = {"TableName": TABLE, "KeyConditionExpression": "pk = :p"}
_WIDE_VALUES = {":p": {"S": "deploy#loud#wide"}}
ENDPOINT: dict[str, Callable[[Target], Attack]] = {
    "a number of 15 MB": _body("PutItem", _item(b'{"N":"' + b"9" * 15_000_000 + b'"}')),
    "a list of 1.2 million nulls": _body("PutItem", _item(b'{"L":[' + b'{"NULL":true},' * 1_150_000 + b'{"S":""}]}')),
    "a set of 4 million numbers": _body("PutItem", _item(b'{"NS":[' + b'"1",' * 4_000_000 + b'"2"]}')),
    "a set of 2 million binaries": _body("PutItem", _item(b'{"BS":[' + b'"AAAA",' * 2_000_000 + b'"AAAB"]}')),
    "a text of 15 MB": _body("PutItem", _item(b'{"S":"' + b"\\u0001" * 2_600_000 + b'"}')),
    "brackets, 16 million": _body("PutItem", lambda: b"[" * 16_000_000),
    "unknown members, 16 MB": _body("GetItem", lambda: b'{"a":[' + b"{}," * 5_500_000 + b"{}]}"),
    "64 bodies of 16 MB": _body("PutItem", lambda: b'{"x":"' + b"x" * 16_000_000 + b'"}', 8),
    "BatchGetItem, 100 wide": _operation(
        "BatchGetItem", RequestItems={TABLE: {"Keys": [typed_key("wide", at) for at in range(100)]}}
    ),
    "BatchGetItem, 100 wide, 4 KB of paths": _operation(
        "BatchGetItem",
        RequestItems={
            TABLE: {
                "Keys": [typed_key("wide", at) for at in range(100)],
                "ProjectionExpression": ",".join(f"l[{at}]" for at in range(500)),
            }
        },
    ),
    "TransactWriteItems, 100 conditions fail": _operation(
        "TransactWriteItems",
        TransactItems=_transaction(
            UpdateExpression="REMOVE n",
            ConditionExpression="attribute_exists(n)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        ),
    ),
    "TransactWriteItems, 100 wide": _operation(
        "TransactWriteItems", TransactItems=_transaction(UpdateExpression="REMOVE n")
    ),
    "UpdateItem, wide, ALL_NEW": _operation(
        "UpdateItem", TableName=TABLE, Key=typed_key("wide"), UpdateExpression="REMOVE n", ReturnValues="ALL_NEW"
    ),
    "UpdateItem, 4 KB of parentheses": _operation(
        "UpdateItem",
        TableName=TABLE,
        Key=typed_key("a"),
        UpdateExpression="REMOVE n",
        ConditionExpression="(" * 2000 + "attribute_exists(n)" + ")" * 2000,
    ),
    "UpdateItem, 4 KB of REMOVE": _operation(
        "UpdateItem",
        TableName=TABLE,
        Key=typed_key("wide"),
        UpdateExpression="REMOVE " + ",".join(f"l[{at}]" for at in range(500)),
    ),
    "UpdateItem, 230 list_append nested": _operation(
        "UpdateItem",
        TableName=TABLE,
        Key=typed_key("wide"),
        UpdateExpression="SET a = " + "list_append(" * 230 + "l" + ",l)" * 230,
    ),
    "UpdateItem, 300 copies of a map": _operation(
        "UpdateItem",
        TableName=TABLE,
        Key=typed_key("wide"),
        UpdateExpression="SET " + ",".join(f"a{at} = m" for at in range(300)),
    ),
    "Query, 200 contains, wide": _operation(
        "Query",
        **_READ,
        FilterExpression=" OR ".join(["contains(l,:x)"] * 200),
        ExpressionAttributeValues={**_WIDE_VALUES, ":x": {"N": "1"}},
    ),
    "Scan, wide": _operation("Scan", TableName=TABLE),
    "BatchWriteItem, over wide ones": _operation(
        "BatchWriteItem", RequestItems={TABLE: [{"PutRequest": {"Item": typed_key("wide", at)}} for at in range(25)]}
    ),
    "made-up tables": _new_tables,
    "pipelined, 20 connections": flooding(20, _TINY),
    "300 bodies that stall": holding(
        300, lambda tenant: [over_dynamodb("PutItem", b"x" * 3_000_000, length=16_000_000)]
    ),
    "600 slow bodies": holding(600, lambda tenant: [over_dynamodb("PutItem", b"{", length=16_000_000)], b" "),
}
