"""What one HTTP server of ours does with clients that are many, slow, too long, gone, or hostile."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import logging
import re
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.web import client_faults, connection_slots, framing, request_context, serving
from ddb_mcp.web import client_faults as client_faults_module
from ddb_mcp.web import connection as connection_module
from ddb_mcp.web.client_faults import ClientFaults
from ddb_mcp.web.connection_slots import ConnectionSlots
from ddb_mcp.web.listening import Listening, listen
from ddb_mcp.web.request_context import BodyRejected, ClientGone, RequestContext
from ddb_mcp.web.serving import HttpServer
from tests.support.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.types import Receive, Scope, Send


class App:
    """`/length` gives the body's length, `/early` does not read it, `/large` has 64 MB, `/slow` takes a second.

    `/while-wanted` never answers, nor does `/endless`, which outlives its client.
    """

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[str] = []
        self.received = 0
        self.slow: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        self.began.append(scope["path"])
        status, body = 200, b"early"
        try:
            if scope["path"] == "/slow":
                await self.slow()
            if scope["path"] != "/while-wanted":
                RequestContext.of(scope).outlive_client()
            if scope["path"] in ("/endless", "/while-wanted"):
                await asyncio.sleep(1000)
            if scope["path"] != "/early":
                body = b"%d" % len(await RequestContext.of(scope).read_body(count=self._count))
            if scope["path"] == "/large":
                body = b"x" * 64_000_000
        except BodyRejected as refused:
            status, body = refused.status, refused.error.message.encode()
        except (ClientGone, asyncio.CancelledError):
            self.ended.append("client gone")
            raise
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self.ended.append(scope["path"])

    def _count(self, length: int) -> None:
        self.received += length

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})


class Running:
    def __init__(self, app: App, port: int, server: HttpServer) -> None:
        self.app = app
        self.port = port
        self.server = server

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def ask(self, path: str = "/length", body: bytes = b"") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("POST", path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()


@contextmanager
def running(tls: ssl.SSLContext | None = None, grace_seconds: float = 5) -> Iterator[Running]:
    app = App()
    with listen("127.0.0.1", 0) as listener:
        server = HttpServer(app, listener, tls=tls, grace_seconds=grace_seconds)
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield Running(app, port, server)
        finally:
            server.stop()
            thread.join(PATIENCE)
    assert not thread.is_alive()


def _takes(connection: socket.socket, sent: bytes) -> bool:
    try:
        connection.sendall(sent)
    except ConnectionError:
        return False
    return True


def read_all(connection: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionError):
        return b"".join(iter(lambda: connection.recv(65536), b""))
    return b""


def head(path: str = "/length", **headers: Any) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", *(f"{n.replace('_', '-')}: {v}" for n, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def test_an_answer_comes_in_one_piece() -> None:
    with running() as served, served.connect() as client:
        for _ in range(3):
            client.sendall(b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab")
            assert client.recv(65536).endswith(b"\r\n\r\n2")


def test_a_process_that_serves_spares_its_collector_what_was_there_before() -> None:
    """What is loaded by then has some ten thousand objects."""
    program = """if True:
        import gc, signal
        from ddb_mcp.web.listening import listen
        from ddb_mcp.web.serving import HttpServer, run_lifespan

        async def app(scope, receive, send):
            print(gc.get_freeze_count(), flush=True)
            signal.raise_signal(signal.SIGTERM)
            await run_lifespan(receive, send)

        HttpServer(app, listen("127.0.0.1", 0)).run()
    """
    served = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert int(served.stdout) > 10_000, served.stderr


# Connections


def test_above_the_cap_a_connection_is_closed_and_one_that_waits_long_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "CONNECTIONS_MAX", 3)
    with running() as it, contextlib.ExitStack() as stack:
        held = [stack.enter_context(it.connect()) for _ in range(3)]
        for connection in held:
            connection.sendall(b"POST /")
        monkeypatch.setattr(connection_slots, "IDLE_SECONDS", 1000)
        wait_until(lambda: read_all(stack.enter_context(it.connect())) == b"")
        monkeypatch.setattr(connection_slots, "IDLE_SECONDS", 0)
        assert it.ask() == (200, b"0")
        assert read_all(held[0]) == b""


def test_clients_that_connect_together_are_accepted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the loop is held, 60 clients connect. Each turn of the loop accepts several of them."""
    turns, admitted_in, may_go_on = 0, list[int](), threading.Event()
    admit = ConnectionSlots.admit

    def noted(connections: ConnectionSlots, connection: Any) -> bool:
        admitted_in.append(turns)
        return admit(connections, connection)

    async def hold() -> None:
        nonlocal turns
        may_go_on.wait(PATIENCE)
        while len(admitted_in) < 61:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(ConnectionSlots, "admit", noted)
    with running() as it, contextlib.ExitStack() as stack:
        it.app.slow = hold
        first = stack.enter_context(it.connect())
        first.sendall(head("/slow", Content_Length=0))
        wait_until(lambda: it.app.began)
        for _ in range(60):
            stack.enter_context(it.connect())
        may_go_on.set()
        assert first.recv(12) == b"HTTP/1.1 200"
        assert admitted_in[-1] - admitted_in[1] < 30


# Heads


@pytest.mark.parametrize("pieces", [1, 200])
@pytest.mark.parametrize("before", [b"", b"\r\n\r\n", head(Content_Length=2) + b"{}"])
def test_a_head_that_is_too_long_is_refused(before: bytes, pieces: int) -> None:
    long = before + head(X_Long="x" * 2 * framing.HEAD_MAX_BYTES)
    with running() as it, it.connect() as connection:
        size = len(long) // pieces + 1
        with contextlib.suppress(ConnectionError):
            for at in range(0, len(long), size):
                connection.sendall(long[at : at + size])
        if not (before and pieces == 1):  # in one piece, the first request's bytes and the second's come together
            assert b" 431 " in read_all(connection)
        assert it.ask() == (200, b"0")


def test_a_head_that_does_not_come_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HEAD_SECONDS", 1)
    with running() as it, contextlib.ExitStack() as stack:
        monkeypatch.setattr(connection_module, "HEAD_SECONDS", PATIENCE)  # for the head that comes
        kept = stack.enter_context(it.connect())
        kept.sendall(head(Content_Length=0))
        wait_until(lambda: it.app.ended)
        monkeypatch.setattr(connection_module, "HEAD_SECONDS", 1)
        silent, slow = (stack.enter_context(it.connect()) for _ in range(2))
        slow.sendall(b"POST /")
        wait_until(lambda: not _takes(slow, b"x"))
        assert read_all(silent) == b""
        assert read_all(kept).endswith(b"\r\n\r\n0")


def test_requests_on_one_connection_are_answered_in_order() -> None:
    with running() as it, it.connect() as connection:
        one = head("/slow", Content_Length=3) + b"abc"
        connection.sendall(one + head(Content_Length=2) + b"ab")
        connection.sendall(head(Content_Length=1, Connection="close") + b"a")
        answers = read_all(connection)
        assert re.findall(rb"\r\n\r\n(\d)", answers) == [b"3", b"2", b"1"]


# Bodies


def test_a_body_that_is_too_long_is_refused_and_the_connection_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_context, "BODY_MAX_BYTES", 1000)
    with running() as it:
        connection = http.client.HTTPConnection("127.0.0.1", it.port, timeout=PATIENCE)
        for path, status in (("/length", 413), ("/early", 200), ("/length", 413)):
            connection.request("POST", path, b"x" * 2_000_000)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status
        connection.request("POST", "/length", iter([b"x" * 1001]), encode_chunked=True)  # in chunks
        assert connection.getresponse().status == 413
        connection.close()
        assert it.ask(body=b"x" * 1000) == (200, b"1000")


def test_a_body_that_does_not_come_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_context, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(connection_module, "LEFTOVER_SECONDS", 0.3)
    with running() as it, it.connect() as connection:
        connection.sendall(head(Content_Length=1000) + b"x")
        assert b" 408 " in read_all(connection)


def test_a_request_whose_length_can_be_read_in_two_ways_is_refused() -> None:
    with running() as it, it.connect() as connection:
        connection.sendall(head(Content_Length=2, Transfer_Encoding="chunked") + b"0\r\n\r\n")
        assert b" 400 " in read_all(connection)
        assert it.app.began == []


def test_bodies_under_way_have_a_budget_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_context, "IN_FLIGHT_MAX_BYTES", 1_000_000)
    with running() as it:
        with it.connect() as stalled:
            stalled.sendall(head(Content_Length=1_000_000) + b"x" * 900_000)
            # Else the stalled body itself could be the one over the budget.
            wait_until(lambda: it.app.received == 900_000)
            assert it.ask(body=b"x" * 200_000)[0] == 503
            assert it.ask(body=b"x" * 1000)[0] == 200
        wait_until(lambda: it.ask(body=b"x" * 200_000)[0] == 200)


# Answers


def test_an_answer_that_nobody_takes_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module.HttpConnection, "ANSWER_READ_SECONDS", 0.5)
    monkeypatch.setattr(request_context, "IN_FLIGHT_MAX_BYTES", 100_000_000)
    with running() as it, it.connect() as first, it.connect() as second:
        for connection in (first, second):
            connection.sendall(head("/large", Content_Length=0))
        wait_until(lambda: it.app.ended == ["/large", "/large"])
        assert it.ask() == (200, b"0")
        assert len(read_all(first)) < 64_000_000


def test_clients_that_leave_are_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with running() as it:
        requests = head(Content_Length=5) + b"x", head("/slow", Content_Length=0), head("/large", Content_Length=0)
        for number, sent in enumerate(requests, 1):
            with it.connect() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # RST
                connection.sendall(sent)
                wait_until(lambda number=number: len(it.app.began) == number)
            wait_until(lambda: len(it.app.began) == len(it.app.ended))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_request_that_ends_with_its_client_does_so_before_its_body_and_after_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running() as it:
        for sent in (head("/while-wanted", Content_Length=0), head("/while-wanted", Content_Length=5) + b"x"):
            with it.connect() as connection, it.connect() as stays:
                for one in (connection, stays):
                    one.sendall(sent)
                wait_until(lambda: len(it.app.began) == 2)
                connection.close()
                wait_until(lambda: it.app.ended == ["client gone"])
            wait_until(lambda: len(it.app.ended) == 2)
            it.app.began.clear()
            it.app.ended.clear()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# The log


def test_trouble_is_one_line_at_once_and_one_line_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    own = logging.Logger("this test's own")  # whatever other tests have done to the project's
    own.addHandler(handler := logging.Handler())
    twice = asyncio.Event()

    def emit(record: logging.LogRecord) -> None:
        told.append(record.getMessage())
        if len(told) == 2:
            twice.set()

    monkeypatch.setattr(handler, "emit", emit)
    monkeypatch.setattr(client_faults, "logger", own)
    monkeypatch.setattr(client_faults_module, "FAULTS_SECONDS", 0.05)

    async def fifty() -> None:
        faults = ClientFaults()
        for _ in range(50):
            faults.note("request that is not HTTP")
        await twice.wait()

    asyncio.run(asyncio.wait_for(fifty(), PATIENCE))
    counts = [int(count) for line in told for count in re.findall(r"request that is not HTTP \((\d+)\)", line)]
    assert counts == [1, 49]


def test_what_is_not_http_is_answered() -> None:
    with running() as it:
        for _ in range(50):
            with it.connect() as connection:
                connection.sendall(b"nonsense\r\n\r\n")
                assert b" 400 " in read_all(connection)
        assert it.ask() == (200, b"0")


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    chain, key = folder / "cert.pem", folder / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", chain]
    subprocess.run([*map(str, command), *names], check=True, capture_output=True)
    return chain, key


def test_a_handshake_that_does_not_come_ends_the_connection(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection_module, "HANDSHAKE_SECONDS", 0.5)
    client = ssl.create_default_context(cafile=certificate[0])
    with running(Listening("127.0.0.1", 0, *certificate).tls()) as it:
        with it.connect() as silent, it.connect() as plain, it.connect() as gone:
            gone.close()
            plain.sendall(head(Content_Length=0))
            assert read_all(silent) == b""
            assert b"HTTP" not in read_all(plain)
        monkeypatch.setattr(connection_module, "HANDSHAKE_SECONDS", PATIENCE)
        for _ in range(5):
            connection = http.client.HTTPSConnection("127.0.0.1", it.port, context=client, timeout=PATIENCE)
            for _ in range(2):
                connection.request("POST", "/length", b"x" * 100_000)
                assert connection.getresponse().read() == b"100000"
            connection.close()
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.WARNING] == []


def test_open_handshakes_leave_a_connected_client_its_connection(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "CONNECTIONS_MAX", 8)
    monkeypatch.setattr(connection_slots, "IDLE_SECONDS", 0)
    context = ssl.create_default_context(cafile=certificate[0])
    with running(Listening("127.0.0.1", 0, *certificate).tls()) as it, contextlib.ExitStack() as stack:
        client = http.client.HTTPSConnection("127.0.0.1", it.port, context=context, timeout=PATIENCE)
        stack.callback(client.close)
        client.request("POST", "/length", b"ab")
        assert client.getresponse().read() == b"2"
        connected = client.sock
        for _ in range(40):
            stack.enter_context(it.connect()).sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        newcomer = http.client.HTTPSConnection("127.0.0.1", it.port, context=context, timeout=PATIENCE)
        stack.callback(newcomer.close)
        for one in (newcomer, client):
            one.request("POST", "/length", b"abc")
            assert one.getresponse().read() == b"3"
        assert client.sock is connected


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_carries_long_bodies_and_answers_and_ends_with_its_own_end(
    certificate: tuple[Path, Path], version: ssl.TLSVersion
) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    context.maximum_version = version
    with (
        running(Listening("127.0.0.1", 0, *certificate).tls()) as it,
        it.connect() as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as client,
    ):
        client.sendall(head("/large", Content_Length=3_000_000, Connection="close") + b"x" * 3_000_000)
        answer = b"".join(iter(lambda: client.recv(1 << 20), b""))
        assert answer.endswith(b"x" * 64_000_000)


def test_tls_settings_that_cannot_be_used_are_clear_errors(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    chain, key = certificate
    for wrong in ((chain, None), (None, key), (chain, tmp_path / "missing"), (key, key)):
        with pytest.raises(Misconfigured, match="TLS"):
            Listening("127.0.0.1", 0, *wrong).tls()
    with pytest.raises(Misconfigured, match="unencrypted"):
        Listening("0.0.0.0", 0).tls()
    assert Listening("127.0.0.1", 0).tls() is None
    assert Listening("0.0.0.0", 0, behind_tls_proxy=True).tls() is None


# The end


def test_at_the_end_what_is_under_way_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    with running(grace_seconds=PATIENCE) as it, it.connect() as slow, it.connect() as idle:
        idle.sendall(head(Content_Length=0))
        slow.sendall(head("/slow", Content_Length=0))
        wait_until(lambda: len(it.app.began) == 2)
        it.server.stop()
        assert read_all(slow).endswith(b"\r\n\r\n0")
        assert read_all(idle).endswith(b"\r\n\r\n0")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_at_the_end_what_takes_too_long_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with running(grace_seconds=0.1) as it, it.connect() as endless:
        endless.sendall(head("/endless", Content_Length=0))
        wait_until(lambda: len(it.app.began) == 1)
        it.server.stop()
        told = read_all(endless)
        assert b" 503 " in told
        assert b'"error":"unavailable"' in told
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
