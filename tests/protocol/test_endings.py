"""How the process ends: at once, quietly, and with every finished answer delivered."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from tests.protocol.wire import DDB_MCP, ENVELOPE, TOY, Wire, clean_environment
from tests.support.forking import Process
from tests.support.waiting import PATIENCE

# A call that would keep the process for this long, were it waited for.
FOREVER = 1000


def test_stdin_at_its_end_ends_the_process_with_code_0(toy: Wire) -> None:
    toy.end_input()
    assert toy.wait() == 0
    toy.__exit__()
    assert toy.errors == ""


def test_stdin_at_its_end_before_any_message_ends_the_process_with_code_0() -> None:
    with Wire(TOY) as wire:
        wire.end_input()
        assert wire.wait() == 0


def test_requests_that_stdin_ends_with_are_answered(local: dict[str, str]) -> None:
    with Wire(DDB_MCP, local) as wire:
        wire.send("tools/list", {"_meta": ENVELOPE}, 1)
        for number in range(2, 6):
            wire.send("tools/call", {"_meta": ENVELOPE, "name": "info", "arguments": {}}, number)
        wire.end_input()
        answers = wire.rest()
        assert wire.wait() == 0
    assert {answer["id"] for answer in answers} == {1, 2, 3, 4, 5}
    assert all("result" in answer for answer in answers)


def test_an_answer_that_nobody_reads_yet_is_delivered_after_the_end_of_stdin(toy: Wire) -> None:
    text = "z" * 3_000_000  # far more than a pipe holds
    toy.start_call("echo", 1, text=text)
    toy.end_input()
    assert toy.receive()["result"]["structuredContent"]["text"] == text
    assert toy.wait() == 0


def test_calls_in_flight_when_stdin_ends_are_finished_and_answered(toy: Wire) -> None:
    toy.start_call("sleep", 1, seconds=1.5)
    toy.start_call("put", 2, seconds=1.5)
    toy.end_input()
    answers = toy.rest()
    assert toy.wait() == 0
    assert {answer["id"]: "result" in answer for answer in answers} == {1: True, 2: True}


@pytest.mark.parametrize(("grace", "seconds", "failed"), [(FOREVER, 1, {"write"}), (0.3, FOREVER, {"write", "read"})])
def test_a_write_has_less_time_after_the_end_of_stdin_than_a_read_and_none_is_left_without_an_answer(
    grace: float, seconds: float, failed: set[str]
) -> None:
    with Wire((*TOY, "STDIO_WRITE_GRACE_SECONDS=0.3", f"STDIO_GRACE_SECONDS={grace}")) as wire:
        wire.shake_hands()
        wire.start_call("put", "write", seconds=FOREVER)
        wire.start_call("sleep", "read", seconds=seconds)
        wire.end_input()
        answers = {answer["id"]: answer for answer in wire.rest()}
        assert wire.wait() == 0
    assert answers.keys() == {"write", "read"}
    assert {call for call, answer in answers.items() if "error" in answer} == failed
    assert "read before you repeat" in answers["write"]["error"]["message"]


def test_a_client_that_stops_reading_after_the_end_of_stdin_ends_the_process() -> None:
    call = {"_meta": ENVELOPE, "name": "sleep", "arguments": {"seconds": FOREVER}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    pipe = subprocess.PIPE
    command = (*TOY, f"STDIO_GRACE_SECONDS={FOREVER}")
    with Process(command, stdin=pipe, stdout=pipe, env=clean_environment()) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.close()
        process.stdout.close()
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("calls", [0, 100])
def test_a_signal_does_not_wait_for_calls_in_flight(toy: Wire, number: signal.Signals, calls: int) -> None:
    for call in range(calls):
        toy.start_call("sleep", call, seconds=FOREVER)
    assert toy.ask("ping", request="ping")["id"] == "ping"
    toy.process.send_signal(number)
    assert toy.wait() == -number
    toy.__exit__()
    assert toy.errors == ""


def test_more_calls_in_flight_than_threads_leave_the_protocol_alive(toy: Wire) -> None:
    for call in range(100):
        toy.start_call("sleep", call, seconds=FOREVER)
    assert toy.call("echo", "echo")["id"] == "echo"


def test_a_client_that_is_gone_ends_the_process_quietly() -> None:
    requests = b""
    for number in range(3):
        message = {"jsonrpc": "2.0", "id": number, "method": "tools/list", "params": {"_meta": ENVELOPE}}
        requests += json.dumps(message).encode() + b"\n"
    pipe = subprocess.PIPE
    with Process(TOY, stdin=pipe, stdout=pipe, stderr=pipe, env=clean_environment()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(requests)
        process.stdin.flush()  # and stays open
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == b""
