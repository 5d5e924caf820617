"""A connection as a state machine: uvicorn's real protocols under it, and a transport that notes what is done to it."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from ddb_mcp.web import connection as module
from ddb_mcp.web.client_faults import ClientFaults
from ddb_mcp.web.connection import TRANSITIONS, HttpConnection, State
from ddb_mcp.web.connection_slots import ConnectionSlots
from ddb_mcp.web.framing import BadFraming, ChunkedBody
from ddb_mcp.web.request_context import RequestContext

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


class FakeTransport(asyncio.Transport):
    """A socket's transport: what was written, and whether it reads. No real socket can be made to take one step."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.1", 1), "sockname": ("10.0.0.2", 80)})
        self.written = b""
        self.reads = True
        self.closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


class Application:
    """Answers each request with its path when it is told to. `/read…` reads the body first."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Event] = []
        self.began: list[str] = []
        self.headers: list[dict[bytes, bytes]] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.began.append(scope["path"])
        self.headers.append(dict(scope["headers"]))
        if scope["path"].startswith("/read"):
            self.bodies.append(await RequestContext.of(scope).read_body())
        else:
            self.waiting.append(go := asyncio.Event())
            await go.wait()
        body = scope["path"].encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


class Served:
    """One connection with its event loop."""

    def __init__(self, protocol: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.app, self.transport = Application(), FakeTransport()
        self.states = [State.HANDSHAKE]
        self.uvicorn = ServerState()
        self.loop.run_until_complete(self._connect(protocol))

    async def _connect(self, protocol: Any) -> None:
        self.slots = ConnectionSlots(ClientFaults(), most=4, keep_seconds=30)
        config = Config(
            self._answer,
            interface="asgi3",
            proxy_headers=False,
            lifespan="off",
            ws="none",
            access_log=False,
            timeout_keep_alive=10**6,
        )
        self.connection = HttpConnection(
            self.slots,
            None,
            lambda own: protocol(config=config, server_state=self.uvicorn, app_state={"connection": own}),
        )
        enter = self.connection._enter

        def noted(state: State, seconds: float | None = None) -> None:
            enter(state, seconds)
            self.states.append(state)

        self.connection._enter = noted  # type: ignore[method-assign]
        self.connection.connection_made(self.transport)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await RequestContext(scope["state"].pop("connection"), scope, receive, send).run(self.app)

    def settle(self) -> None:
        """Let everything happen that can."""
        self.loop.run_until_complete(_turns())

    def feed(self, data: bytes) -> None:
        async def receive() -> None:
            self.connection.data_received(data)
            await _turns()

        self.loop.run_until_complete(receive())

    def lose(self) -> None:
        async def lost() -> None:
            self.connection.connection_lost(None)
            await _turns()

        self.loop.run_until_complete(lost())

    def close(self) -> None:
        if not self.connection.is_lost:
            self.lose()
        self.loop.close()


async def _turns() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


PROTOCOLS = pytest.mark.parametrize("protocol", [HttpToolsProtocol, H11Protocol])


def request(path: str, body: bytes | list[bytes] | None, *lines: str) -> bytes:
    """A request whose body has a length, or chunks with an extension and a trailer."""
    head = [f"POST {path} HTTP/1.1", "Host: x", *lines]
    if isinstance(body, list):
        chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in body)
        return "\r\n".join([*head, "Transfer-Encoding: chunked", "", ""]).encode() + chunks + TRAILER
    return "\r\n".join([*head, f"Content-Length: {len(body or b'')}", "", ""]).encode() + (body or b"")


TRAILER = b"0\r\nAuthorization: Bearer smuggled\r\nHost: other\r\n\r\n"
BODY = st.none() | st.binary(max_size=30) | st.lists(st.binary(min_size=1, max_size=9), max_size=100)


class Requests(RuleBasedStateMachine):
    """Requests come in any pieces, are answered at any time, and the client may leave."""

    protocol: Any = HttpToolsProtocol

    @initialize()
    def connect(self) -> None:
        self.served = Served(self.protocol)
        self.sent = list[str]()
        self.unsent = b""

    @rule(body=BODY, reads=st.booleans())
    def ask(self, body: Any, reads: bool) -> None:
        path = f"/{'read' if reads else 'wait'}{len(self.sent)}"
        self.sent.append(path)
        self.unsent += request(path, body)

    @precondition(lambda self: self.unsent)
    @rule(size=st.integers(1, 400))
    def send(self, size: int) -> None:
        assume(self.served.transport.reads)
        self.served.feed(self.unsent[:size])
        self.unsent = self.unsent[size:]

    @precondition(lambda self: self.served.app.waiting)
    @rule()
    def answer(self) -> None:
        self.served.app.waiting.pop().set()
        self.served.settle()

    @rule()
    def leave(self) -> None:
        self.served.close()
        self.connect()

    @invariant()
    def requests_start_one_at_a_time_and_are_answered_in_order(self) -> None:
        answers = re.findall(rb"\r\n\r\n(/(?:read|wait)\d+)", self.served.transport.written)
        began = [path.encode() for path in self.served.app.began]
        assert answers == [path.encode() for path in self.sent[: len(answers)]]
        assert began == [path.encode() for path in self.sent[: len(began)]]
        assert len(began) - len(answers) <= 1
        assert self.served.transport.written.count(b"HTTP/1.1 200") == len(answers)

    @invariant()
    def a_trailer_is_no_header(self) -> None:
        assert all(headers[b"host"] == b"x" for headers in self.served.app.headers)
        assert not any(b"authorization" in headers for headers in self.served.app.headers)

    @invariant()
    def states_follow_the_table(self) -> None:
        states = self.served.states
        assert all(after in TRANSITIONS[before] for before, after in itertools.pairwise(states))
        assert self.served.connection.state not in (State.CLOSING, State.CLOSED)

    def teardown(self) -> None:
        self.served.close()
        assert self.served.slots._all == set()
        assert not self.served.slots._strangers
        assert not self.served.slots._idle
        assert not self.served.uvicorn.connections


class RequestsWithH11(Requests):
    protocol = H11Protocol


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestRequestsWithH11 = RequestsWithH11.TestCase
TestRequestsWithH11.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


@PROTOCOLS
def test_pipelined_requests_stay_unread(protocol: Any) -> None:
    """While a request is answered, only the piece that had come already is held, and nothing more is read."""
    served = Served(protocol)
    served.feed(request("/wait0", None) * 1000)
    held = len(served.connection._held)
    assert not served.transport.reads
    for _ in range(20):
        served.app.waiting.pop().set()
        served.settle()
        assert not served.transport.reads
    assert held > len(served.connection._held) > 0
    served.close()


@PROTOCOLS
@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_chunks_are_put_together(protocol: Any, piece: int) -> None:
    chunks = [b"a", b"bc" * 100, *[b"x"] * 300]
    whole = request("/read", chunks)
    served = Served(protocol)
    for at in range(0, len(whole), piece):
        served.feed(whole[at : at + piece])
    served.settle()
    assert served.app.bodies == [b"".join(chunks)]
    served.close()


@PROTOCOLS
def test_many_small_chunks_take_many_turns(protocol: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    take = module.HttpConnection._take_body

    def noted(connection: HttpConnection) -> None:
        before = len(connection._held)
        take(connection)
        taken.append(before - len(connection._held))

    monkeypatch.setattr(module.HttpConnection, "_take_body", noted)
    served = Served(protocol)
    served.feed(request("/read", [b"x"] * 1500))
    for _ in range(3):
        served.settle()
    assert served.app.bodies == [b"x" * 1500]
    assert max(taken) <= 64 * len(b"1;ext=1\r\nx\r\n")
    served.close()


def test_a_body_in_too_many_chunks_is_refused() -> None:
    body = ChunkedBody()
    with pytest.raises(BadFraming):
        _take_all(body, bytearray(b"1\r\nx\r\n" * 20_001))


def _take_all(body: ChunkedBody, held: bytearray) -> None:
    while held:
        body.take(held)


@PROTOCOLS
@pytest.mark.parametrize("answered", [True, False])
def test_no_more_is_read_while_small_chunks_are_left(protocol: Any, answered: bool) -> None:
    served = Served(protocol)
    served.feed(b"POST /wait HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    if answered:
        served.app.waiting.pop().set()
        served.settle()
        assert served.connection.state is State.DRAINING
    served.connection.data_received(b"1\r\nx\r\n" * 1000)
    assert not served.transport.reads
    for _ in range(3):
        served.settle()
    assert served.transport.reads
    served.close()


@PROTOCOLS
@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b"1" * 9 + b"\r\n",
        b"1;" + b"x" * 2000,
        b"1\r\nab\r\n",
        b"1\nab\r\n0\r\n\r\n",
    ],
)
def test_chunks_that_are_none_end_the_connection(protocol: Any, body: bytes) -> None:
    served = Served(protocol)
    served.feed(b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    assert b" 400 " in served.transport.written or served.transport.closing
    assert served.transport.closing
    assert served.app.bodies == []
    served.close()


@PROTOCOLS
@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 2", "Transfer-Encoding: chunked"],
        ["Content-Length: 2", "Content-Length: 2"],
        ["Content-Length: 2", "Content-Length: 3"],
        ["Content-Length: +2"],
        ["Content-Length: -2"],
        ["Content-Length: 2, 2"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding:\x0bchunked"],
    ],
)
def test_a_request_whose_end_can_be_read_in_two_ways_starts_nothing(protocol: Any, lines: list[str]) -> None:
    served = Served(protocol)
    head = "\r\n".join(["POST /wait HTTP/1.1", "Host: x", *lines, "", ""]).encode()
    served.feed(head + b"2\r\n{}\r\n0\r\n\r\n")
    if protocol is H11Protocol and lines in (["Content-Length: 2", "Content-Length: 2"], ["Content-Length: 2, 2"]):
        assert served.app.began == ["/wait"]  # h11 takes equal lengths for one
    else:
        assert served.app.began == []
        assert served.transport.closing
    served.close()


@PROTOCOLS
@pytest.mark.parametrize("lines", [["Upgrade: h2c", "Connection: Upgrade"], ["Expect: 100-continue"]])
def test_a_request_that_asks_for_more_is_served_as_it_is(protocol: Any, lines: list[str]) -> None:
    served = Served(protocol)
    served.feed(request("/read0", b"{}", *lines) + request("/read1", b"[]"))
    assert served.app.bodies == [b"{}", b"[]"]
    served.close()


@PROTOCOLS
def test_connect_opens_no_tunnel(protocol: Any) -> None:
    served = Served(protocol)
    served.feed(b"CONNECT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
    assert served.app.began == []
    assert served.transport.closing
    served.close()


def test_every_state_can_end() -> None:
    assert all(State.CLOSED in after for state, after in TRANSITIONS.items() if state is not State.CLOSED)
