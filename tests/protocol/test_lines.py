"""One line in, one line out: what cannot be parsed, and what must never reach stdout."""

from __future__ import annotations

import pytest

from tests.protocol.wire import ENVELOPE, TOY, Wire


def _call(arguments: str) -> bytes:
    return (
        b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":%s}}' % arguments.encode()
    )


UNPARSEABLE = {
    "nested 250 deep": _call('{"a":' + "[" * 250 + "]" * 250 + "}"),
    "a number of 5,000 digits": _call('{"a":' + "9" * 5000 + "}"),
    "malformed UTF-8": _call('{"a":"x"}').replace(b'"x"', b'"\xff"'),
    "nested 100,000 deep": _call('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "cut off": _call('{"a":"x"}')[:-9],
    "a tab in a string": _call('{"a":"\t"}'),
    "something behind it": _call('{"id":8}') + b"}",
    "a lone surrogate in a method": b'{"jsonrpc":"2.0","id":7,"method":"\\ud800"}',
    "a lone surrogate and malformed UTF-8": _call('{"a":"\\ud800","b":"x"}').replace(b'"x"', b'"\xff"'),
    "a lone surrogate, nested 250 deep": _call('{"a":["\\ud800",' + "[" * 250 + "]" * 250 + "]}"),
}


@pytest.mark.parametrize("line", UNPARSEABLE.values(), ids=UNPARSEABLE.keys())
def test_a_request_that_cannot_be_parsed_is_answered_under_its_own_id(toy: Wire, line: bytes) -> None:
    toy.send_line(line)
    answer = toy.receive()
    assert (answer["id"], answer["error"]["code"]) == (7, -32700)
    assert toy.call("echo", 8)["id"] == 8


NO_ID = {
    "no JSON": (b"nonsense", -32700),
    "cut off before it": (b'{"jsonrpc":"2.0","method":"ping","params":{"id":7', -32700),
    "a lone surrogate in it": (b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}', -32700),
    "a batch": (b'[{"jsonrpc":"2.0","id":7,"method":"ping"}]', -32600),
    "no message": (b'{"a":1}', -32600),
    "a fraction for an id": (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
    "null for an id": (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
    "true for an id": (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600),
    "a malformed answer": (b'{"jsonrpc":"2.0","id":7,"error":1}', -32600),
}


@pytest.mark.parametrize(("line", "code"), NO_ID.values(), ids=NO_ID.keys())
def test_a_line_without_a_request_to_answer_is_answered_under_no_id(toy: Wire, line: bytes, code: int) -> None:
    toy.send_line(line)
    answer = toy.receive()
    assert (answer["id"], answer["error"]["code"]) == (None, code)
    assert toy.call("echo", 8)["id"] == 8


def test_the_id_of_a_line_that_cannot_be_parsed_may_be_text(toy: Wire) -> None:
    for unparseable in (b"\xff", b'{"a":"\xff","id":8}'):
        toy.send_line(b'{"jsonrpc":"2.0","id":"\\"seven\\"","method":"ping","params":%s}' % unparseable)
        assert toy.receive()["id"] == '"seven"'


def test_a_line_may_begin_with_a_byte_order_mark(toy: Wire) -> None:
    toy.send_line(b"\xef\xbb\xbf" + _call('{"a":1}').replace(b"{", b"{ ", 1))
    assert toy.receive()["id"] == 7


def test_a_tool_gets_the_lone_surrogates_in_its_arguments(toy: Wire) -> None:
    """It can say where they are; `echo` sends them back, which is no JSON."""
    toy.send_line(_call('{"a":"\\ud83d\\ude00 \\\\ud800 \\ude00"}'))
    assert toy.receive() == {"jsonrpc": "2.0", "id": 7, "error": {"code": -32603, "message": "Internal error"}}


def test_a_line_that_cannot_be_parsed_does_not_decide_the_protocol_era() -> None:
    with Wire(TOY) as wire:
        wire.send_line(b"nonsense")
        assert wire.receive()["error"]["code"] == -32700
        assert wire.ask("tools/list", {"_meta": ENVELOPE})["result"]["resultType"] == "complete"


def test_empty_lines_are_no_messages(toy: Wire) -> None:
    toy.send_line(b"")
    toy.send_line(b"   \r")
    assert toy.call("echo", 8)["id"] == 8


def test_a_message_of_many_megabytes_passes_both_ways(toy: Wire) -> None:
    text = "x" * 8_000_000
    assert toy.call("echo", text=text)["result"]["structuredContent"]["text"] == text


def test_what_tools_print_goes_to_stderr(toy: Wire) -> None:
    assert toy.call("print")["result"]["structuredContent"] == {"tool": "print"}
    toy.end_input()
    assert toy.rest() == []
    assert toy.wait() == 0
    toy.__exit__()
    assert toy.errors == "stray output\nmore stray output\n"


@pytest.mark.parametrize("tool", ["surrogate", "refuse"])
def test_an_answer_that_is_no_json_is_an_internal_error(toy: Wire, tool: str) -> None:
    assert toy.call(tool)["error"] == {"code": -32603, "message": "Internal error"}
    assert toy.call("echo", 2)["id"] == 2


def test_what_went_wrong_inside_stays_inside(toy: Wire) -> None:
    assert toy.call("crash")["error"] == {"code": -32603, "message": "Internal error"}
    toy.end_input()
    toy.wait()
    toy.__exit__()
    assert "secret detail" in toy.errors


def test_answers_of_concurrent_calls_are_whole_lines(toy: Wire) -> None:
    text = "y" * 100_000
    for number in range(50):
        toy.start_call("echo", number, text=text, number=number)
    answers = {answer["id"]: answer["result"]["structuredContent"] for answer in (toy.receive() for _ in range(50))}
    assert answers == {number: {"tool": "echo", "text": text, "number": number} for number in range(50)}
