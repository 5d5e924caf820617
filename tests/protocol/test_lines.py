"""One line in, one line out: what cannot be parsed, and what must never reach stdout."""

from __future__ import annotations

import json
import os
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from anyio import create_task_group, wait_all_tasks_blocked
from anyio.to_thread import run_sync
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCResponse

from ddb_mcp.server import messages, stdio_streams
from tests.protocol.wire import ENVELOPE, HANDSHAKE, TOY, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def shared() -> Iterator[Wire]:
    with Wire(TOY) as wire:
        wire.shake_hands()
        yield wire


@pytest.fixture
def lasting(shared: Wire) -> Iterator[Wire]:
    """The toy server of all tests that leave it alive. After each it answers, and has said nothing else."""
    yield shared
    assert "result" in shared.ask("ping", request="over")


def _call(arguments: str) -> bytes:
    return (
        b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":%s}}' % arguments.encode()
    )


UNPARSEABLE = {
    "nested 100,000 deep": _call('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "cut off": _call('{"a":"x"}')[:-9],
    "cut off behind a member that comes twice": _call('{"n":1,"n":2}')[:-1],
    "something behind it": _call('{"id":8}') + b"}",
    "nested too deep, its id behind": b'{"method":"tools/call","params":%s,"jsonrpc":"2.0","id":7}'
    % (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
}


@pytest.mark.parametrize("line", UNPARSEABLE.values(), ids=UNPARSEABLE.keys())
def test_a_request_that_cannot_be_parsed_is_answered_under_its_own_id(lasting: Wire, line: bytes) -> None:
    lasting.send_line(line)
    answer = lasting.receive()
    assert (answer["id"], answer["error"]["code"]) == (7, -32700)
    assert lasting.call("echo", 8)["id"] == 8


# The id is known, and the tool can say what is wrong. `echo` gives it back, which is no JSON.
ODD = {
    "malformed UTF-8": _call('{"a":"x"}').replace(b'"x"', b'"\xff"'),
    "a lone surrogate": _call('{"a":"\\ud800"}'),
    "a lone surrogate, nested 250 deep": _call('{"a":["\\ud800",' + "[" * 250 + "]" * 250 + "]}"),
}


@pytest.mark.parametrize("line", ODD.values(), ids=ODD.keys())
def test_a_tool_gets_what_only_it_can_refuse(lasting: Wire, line: bytes) -> None:
    lasting.send_line(line)
    assert lasting.receive()["error"] == {"code": -32603, "message": "Internal error"}
    assert lasting.call("echo", 8)["id"] == 8


def test_a_half_character_in_what_the_sdk_sends_back_ends_nothing(lasting: Wire) -> None:
    params = '{"_meta":{"progressToken":"\\ud800"},"name":"progress","arguments":{"steps":2}}'
    lasting.send_line(b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":%s}' % params.encode())
    assert lasting.receive()["id"] == 7


def test_a_call_may_have_its_arguments_in_another_form(lasting: Wire) -> None:
    for given, shown in (("[]", {}), ('""', {}), ('"{}"', {}), ('"{\\"a\\": 1.5}"', {"a": "1.5"}), ("null", {})):
        lasting.send_line(_call(given))
        assert lasting.receive()["result"]["structuredContent"] == {"tool": "echo", **shown}
    for refused in ("[1]", '"x"', "7"):
        lasting.send_line(_call(refused))
        assert lasting.receive()["error"]["code"] == -32602


def test_fractions_come_with_every_digit(lasting: Wire) -> None:
    """The toy shows a Decimal as text."""
    lasting.send_line(_call('{"a":0.123456789012345678901,"b":[1e400,12,9007199254740993]}'))
    content = lasting.receive()["result"]["structuredContent"]
    assert content == {"tool": "echo", "a": "0.123456789012345678901", "b": ["1E+400", 12, 9007199254740993]}


def test_every_request_of_a_batch_is_refused_under_its_own_id(lasting: Wire) -> None:
    lasting.send_line(b'[{"jsonrpc":"2.0","id":7,"method":"ping"},{"jsonrpc":"2.0","id":"x","method":"ping"},{"a":1}]')
    assert [(answer["id"], answer["error"]["code"]) for answer in (lasting.receive(), lasting.receive())] == [
        (7, -32600),
        ("x", -32600),
    ]
    assert lasting.call("echo", 8)["id"] == 8


@pytest.mark.parametrize("arguments", [b'{"item":{"n":1,"n":2}}', b'{"pk":"a","\\u0070k":"b"}'])
def test_a_member_that_comes_twice_is_refused_by_name(lasting: Wire, arguments: bytes) -> None:
    params = b'{"name":"echo","arguments":' + arguments + b"}"
    lasting.send_line(b'{"id":7,"params":' + params + b',"method":"tools/call","jsonrpc":"2.0"}')
    answer = lasting.receive()
    assert (answer["id"], answer["error"]["code"]) == (7, -32600)
    assert "twice" in answer["error"]["message"]
    assert lasting.call("echo", 8)["id"] == 8


def test_the_version_that_has_batches_is_not_agreed_on() -> None:
    with Wire(TOY) as wire:
        answer = wire.ask("initialize", {**HANDSHAKE, "protocolVersion": "2025-03-26"})
        assert answer["result"]["protocolVersion"] == "2024-11-05"


NO_ID = {
    "no JSON": (b"nonsense", -32700),
    "cut off before it": (b'{"jsonrpc":"2.0","method":"ping","params":{"id":7', -32700),
    "a lone surrogate in it": (b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}', -32600),
    "an empty batch": (b"[]", -32600),
    "no message": (b'{"a":1}', -32600),
    "a fraction for an id": (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
    "null for an id": (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
    "true for an id": (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600),
    "a malformed answer": (b'{"jsonrpc":"2.0","id":7,"error":1}', -32600),
}


@pytest.mark.parametrize(("line", "code"), NO_ID.values(), ids=NO_ID.keys())
def test_a_line_without_a_request_to_answer_is_answered_under_no_id(lasting: Wire, line: bytes, code: int) -> None:
    lasting.send_line(line)
    answer = lasting.receive()
    assert (answer["id"], answer["error"]["code"]) == (None, code)
    assert lasting.call("echo", 8)["id"] == 8


def test_the_id_of_a_line_that_cannot_be_parsed_may_be_text(lasting: Wire) -> None:
    lasting.send_line(b'{"jsonrpc":"2.0","id":"\\"seven\\"","method":"ping","params":{"a":}}')
    assert lasting.receive()["id"] == '"seven"'


def test_a_half_character_in_a_method_is_no_message(lasting: Wire) -> None:
    lasting.send_line(b'{"jsonrpc":"2.0","id":7,"method":"\\ud800"}')
    assert lasting.receive()["error"]["code"] == -32600


MANY, LONG = [0] * 5000, "x" * 500_000


def _echo(**params: Any) -> dict[str, Any]:
    return {"id": 7, "method": "tools/call", "params": {"name": "echo", "arguments": {}, **params}}


LARGE: dict[str, dict[str, Any]] = {
    "many members in _meta": {"id": 7, "method": "ping", "params": {"_meta": {"a": MANY}}},
    "long text in _meta": {"id": 7, "method": "ping", "params": {"_meta": {"a": LONG}}},
    "a long name in _meta": {"id": 7, "method": "ping", "params": {"_meta": {LONG: 1}}},
    "_meta of a call": _echo(_meta={"a": MANY}),
    "a progress token": _echo(_meta={"progressToken": LONG}),
    "a tool's name": _echo(name=LONG),
    "arguments that are a list": _echo(arguments=MANY),
    "an unknown member": {"id": 7, "method": "ping", "more": MANY},
    "an id": {"id": LONG, "method": "ping"},
    "a method": {"id": 7, "method": LONG},
    "a notification": {"method": "notifications/cancelled", "params": {"reason": LONG}},
}


@pytest.mark.parametrize("members", LARGE.values(), ids=LARGE.keys())
def test_what_is_large_outside_arguments_is_refused(lasting: Wire, members: dict[str, Any]) -> None:
    """Everything else in a message is handled in the event loop, and some of it is sent back."""
    lasting.send_line(json.dumps({"jsonrpc": "2.0", **members}).encode())
    answer = lasting.receive()
    assert answer["id"] == (7 if members.get("id") == 7 else None)
    assert answer["error"]["code"] == -32600
    assert "arguments" in answer["error"]["message"]
    assert len(str(answer)) < 1000


NAME = "x" * 100_000
LONG_NAMES: dict[str, dict[str, Any]] = {
    "an id": {"id": NAME, "method": "ping"},
    "a method": {"id": 7, "method": NAME},
    "a tool": _echo(name=NAME),
    "a resource": {"id": 7, "method": "resources/read", "params": {"uri": NAME}},
    "a progress token": _echo(_meta={"progressToken": NAME}),
}


@pytest.mark.parametrize("members", LONG_NAMES.values(), ids=LONG_NAMES.keys())
def test_an_answer_repeats_no_long_name(lasting: Wire, members: dict[str, Any]) -> None:
    lasting.send_line(json.dumps({"jsonrpc": "2.0", **members}).encode())
    answer = lasting.receive()
    assert answer["id"] == (7 if members.get("id") == 7 else None)
    assert answer["error"]["code"] == -32600
    assert len(str(answer)) < 1000


def test_arguments_that_are_json_text_may_be_long(lasting: Wire) -> None:
    lasting.send_line(_call(json.dumps(json.dumps({"a": "x" * 1000}))))
    assert lasting.receive()["result"]["structuredContent"] == {"tool": "echo", "a": "x" * 1000}


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":"' + b"a" * 3_900_000,
        b'{"method":' + b'"jsonrpc":"2.0","id":' * 190_000,
        b" " * 3_900_000 + b"{",
    ],
)
def test_an_id_is_looked_for_in_a_few_bytes(line: bytes) -> None:
    tracemalloc.start()
    try:
        assert messages._find_id(line) is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


def test_more_arguments_than_any_tool_has_are_refused(lasting: Wire) -> None:
    lasting.send_line(_call(json.dumps({f"a{at}": 1 for at in range(50_000)})))
    answer = lasting.receive()
    assert (answer["id"], answer["error"]["code"]) == (7, -32602)
    assert "arguments" in answer["error"]["message"]


def test_a_batch_of_many_requests_has_one_answer(lasting: Wire) -> None:
    lasting.send_line(b"[" + b",".join(b'{"id":%d,"method":"a"}' % at for at in range(90_000)) + b"]")
    assert lasting.receive()["id"] is None
    assert lasting.call("echo", 8)["id"] == 8


def test_a_line_may_begin_with_a_byte_order_mark(lasting: Wire) -> None:
    lasting.send_line(b"\xef\xbb\xbf" + _call('{"a":1}').replace(b"{", b"{ ", 1))
    assert lasting.receive()["id"] == 7


def test_a_line_that_cannot_be_parsed_does_not_decide_the_protocol_era() -> None:
    with Wire(TOY) as wire:
        wire.send_line(b"nonsense")
        assert wire.receive()["error"]["code"] == -32700
        assert wire.ask("tools/list", {"_meta": ENVELOPE})["result"]["resultType"] == "complete"


def test_empty_lines_are_no_messages(lasting: Wire) -> None:
    lasting.send_line(b"")
    lasting.send_line(b"   \r")
    assert lasting.call("echo", 8)["id"] == 8


def test_a_message_of_many_megabytes_passes_both_ways(lasting: Wire) -> None:
    text = "x" * 8_000_000
    assert lasting.call("echo", text=text)["result"]["structuredContent"]["text"] == text


def test_what_tools_print_goes_to_stderr(toy: Wire) -> None:
    assert toy.call("print")["result"]["structuredContent"] == {"tool": "print"}
    toy.end_input()
    assert toy.rest() == []
    assert toy.wait() == 0
    toy.__exit__()
    assert toy.errors == "stray output\nmore stray output\n"


@pytest.mark.parametrize("tool", ["surrogate", "refuse"])
def test_an_answer_that_is_no_json_is_an_internal_error(lasting: Wire, tool: str) -> None:
    assert lasting.call(tool)["error"] == {"code": -32603, "message": "Internal error"}
    assert lasting.call("echo", 2)["id"] == 2


def test_what_went_wrong_inside_stays_inside(toy: Wire) -> None:
    assert toy.call("crash")["error"] == {"code": -32603, "message": "Internal error"}
    toy.end_input()
    toy.wait()
    toy.__exit__()
    assert "secret detail" in toy.errors


def test_answers_of_concurrent_calls_are_whole_lines(lasting: Wire) -> None:
    text = "y" * 100_000
    for number in range(50):
        lasting.start_call("echo", number, text=text, number=number)
    answers = {answer["id"]: answer["result"]["structuredContent"] for answer in (lasting.receive() for _ in range(50))}
    assert answers == {number: {"tool": "echo", "text": text, "number": number} for number in range(50)}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot tell whether a pipe is writable")
@pytest.mark.anyio
async def test_a_brief_answer_needs_no_thread_unless_the_client_reads_none(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[bytes] = []

    async def counted(write: Callable[[bytes], None], line: bytes, **options: Any) -> None:
        threads.append(line)
        await run_sync(write, line, **options)

    def answer(text: str) -> SessionMessage:
        return SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=1, result={"text": text}))

    monkeypatch.setattr(stdio_streams, "run_sync", counted)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as client, os.fdopen(writing, "wb") as stdout:
        server = stdio_streams._ResponseWriter(stdout.fileno())
        await server.send(answer("brief"))
        assert not threads
        async with create_task_group() as group:
            for text in ("x" * 100_000, *["brief"] * 5):  # the first fills the pipe
                group.start_soon(server.send, answer(text))
                await wait_all_tasks_blocked()
            lines = [json.loads(await run_sync(client.readline)) for _ in range(7)]
        assert [len(line["result"]["text"]) for line in lines] == [5, 100_000, *[5] * 5]
        assert len(threads) == 6
