"""The gateway's HTTP face: statuses and errors, limits, rates, TLS, the log, the end."""

from __future__ import annotations

import http.client
import json
import logging
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from ddb_mcp.gateway import tenant_requests
from ddb_mcp.stores.base import FEATURES
from ddb_mcp.stores.local.store import LocalStore
from ddb_mcp.web import request_context
from tests.gateway.conftest import PATH, Clock, post, request
from tests.gateway.process import GatewayProcess, Operator
from tests.gateway.running import RunningGateway, running_gateway
from tests.stdio.server import Server
from tests.support.engines import environment
from tests.support.skill_blocks import blocks, run_bash

PREFIX = "deploy#http"
KEY = {"pk": PREFIX + "#a", "sk": "1"}


def item(**attributes: Any) -> dict[str, str]:
    return {"item": json.dumps({**KEY, **attributes})}


@pytest.fixture(scope="module")
def bearer(gateway: RunningGateway) -> str:
    return f"Bearer {gateway.token(PREFIX)}"


def test_the_documented_requests_get_documented_answers(gateway: RunningGateway, bearer: str) -> None:
    def ask(operation: str, body: Any) -> Any:
        answer = post(gateway.url, operation, body, authorization=bearer)
        assert answer.status == 200, answer.document
        assert answer.headers["Content-Type"] == "application/json"
        return answer.document

    provisioned = ask("provision", {})
    assert {name: provisioned[name] for name in ("tableName", "prefix", "region", "mode")} == {
        "tableName": "gateway-table",
        "prefix": PREFIX,
        "region": "local",
        "mode": "platform",
    }
    assert "SQLite" not in provisioned["instructions"]
    assert "not through the AWS SDK" in provisioned["instructions"]
    assert ask("info", b"")["features"] == sorted(FEATURES)
    assert ask("put", item(n=1)) == {**KEY, "created": True}
    assert ask("get", KEY) == {"found": True, "item": {**KEY, "n": 1}}
    assert ask("query", {"pk": KEY["pk"], "limit": 5})["items"] == [{**KEY, "n": 1}]
    assert ask("scan", {"limit": 5})["complete"] is True
    assert ask("delete", KEY) == {"deleted": True, "item": {**KEY, "n": 1}}
    assert ask("get", KEY) == {"found": False}


REFUSED: dict[str, tuple[str, Any, int, str]] = {
    "unknown field": ("query", {"pk": KEY["pk"], "limits": 5}, 400, "invalid_argument"),
    "foreign key": ("get", {"pk": "deploy#other#a", "sk": "1"}, 403, "prefix_violation"),
    "condition": ("put", {**item(n=2), "expect": {"n": 5}}, 412, "condition_failed"),
    "cursor": ("scan", {"cursor": "made-up"}, 400, "invalid_cursor"),
    "no JSON": ("get", b"{", 400, "invalid_argument"),
    "no UTF-8": ("get", b'{"pk": "\xff"}', 400, "invalid_argument"),
    "no object": ("get", [KEY], 400, "invalid_argument"),
    "member twice": ("get", b'{"pk": "a", "pk": "b", "sk": "c"}', 400, "invalid_argument"),
    "NaN": ("query", b'{"pk": "a", "filter": {"n": NaN}}', 400, "invalid_argument"),
    "long number": ("query", b'{"pk": "a", "limit": ' + b"9" * 5000 + b"}", 400, "invalid_argument"),
    "infinity": ("put", b'{"item": {"pk": "deploy#http#a", "sk": "1", "n": 1e999}}', 400, "invalid_argument"),
    "surrogate": ("get", b'{"pk": "deploy#http#\\ud800", "sk": "1"}', 400, "invalid_argument"),
    "max_bytes": ("scan", {"max_bytes": "many"}, 400, "invalid_argument"),
    "read_limit": ("scan", {"read_limit": 0}, 400, "invalid_argument"),
    "unknown operation": ("drop", {}, 404, "not_found"),
    "no operation": ("", {}, 404, "not_found"),
}


@pytest.mark.parametrize(("operation", "body", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_refusals(gateway: RunningGateway, bearer: str, operation: str, body: Any, status: int, code: str) -> None:
    post(gateway.url, "put", item(n=1), authorization=bearer)
    answer = post(gateway.url, operation, body, authorization=bearer)
    assert (answer.status, answer.document["error"]) == (status, code)
    assert answer.document["message"]
    if code == "condition_failed":
        assert answer.document["item"] == {**KEY, "n": 1}


def test_other_methods_and_paths(gateway: RunningGateway, bearer: str) -> None:
    headers = {"Authorization": bearer}
    assert request(gateway.url, "GET", "/health", None, {}).document == {"status": "ok"}
    for method, path, status in (
        ("GET", PATH + "info", 405),
        ("PUT", PATH + "put", 405),
        ("POST", "/health", 405),
        ("POST", "/", 404),
        ("POST", PATH + "info/", 404),
        ("POST", "/api/data/dynamodb", 404),
    ):
        answer = request(gateway.url, method, path, b"{}", headers)
        assert answer.status == status, path
        assert answer.document["message"]


def test_bodies_have_a_limit_and_answers_do_too(gateway: RunningGateway, bearer: str) -> None:
    escaped = json.dumps({**KEY, "x": "\u0001" * 400_000})
    assert len(json.dumps({"item": escaped})) < request_context.BODY_MAX_BYTES
    assert post(gateway.url, "put", {"item": escaped}, authorization=bearer).status == 200
    whole = post(gateway.url, "get", KEY, authorization=bearer).document["item"]
    assert whole["x"] == "\u0001" * 400_000
    assert post(gateway.url, "put", b" " * (request_context.BODY_MAX_BYTES + 1), authorization=bearer).status == 413
    chunks = [b" " * 1_000_000] * 5
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=300)
    connection.request("POST", PATH + "put", iter(chunks), {"Authorization": bearer}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    post(gateway.url, "delete", KEY, authorization=bearer)


def test_digits_are_stored_and_found_as_the_text_has_them(gateway: RunningGateway) -> None:
    bearer = f"Bearer {gateway.token('deploy#http-digits')}"
    number = "0.123456789012345678"
    put = f'{{"item": {{"pk": "deploy#http-digits#a", "sk": "1", "n": {number}}}}}'
    assert post(gateway.url, "put", put.encode(), authorization=bearer).status == 200
    for wanted, count in ((number, 1), (number[:-1], 0)):
        query = f'{{"pk": "deploy#http-digits#a", "filter": {{"n": {wanted}}}, "limit": 10.0}}'
        assert post(gateway.url, "query", query.encode(), authorization=bearer).document["count"] == count


def test_requests_and_items_read_are_limited_for_one_deployment_only(
    gateway: RunningGateway, bearer: str, clock: Clock
) -> None:
    few = f"Bearer {gateway.token('deploy#few', requests_per_second=2)}"
    *answers, refused = [post(gateway.url, "info", {}, authorization=few) for _ in range(11)]
    assert {answer.status for answer in answers} == {200}
    assert (refused.status, refused.document["error"]) == (429, "throttled")
    assert int(refused.headers["Retry-After"]) == 1
    assert post(gateway.url, "info", {}, authorization=bearer).status == 200
    clock.now += 1
    assert post(gateway.url, "info", {}, authorization=few).status == 200

    prefix = "deploy#small"
    small = f"Bearer {gateway.token(prefix, items_per_second=10)}"
    items = [{"pk": prefix + "#a", "sk": str(at)} for at in range(100)]
    assert post(gateway.url, "put", {"items": items}, authorization=small).document["written"] == 100
    assert post(gateway.url, "scan", {"view": "count"}, authorization=small).document["count"] == 100
    answer = post(gateway.url, "get", items[0], authorization=small)
    assert answer.status == 429
    assert "items read" in answer.document["message"]
    assert int(answer.headers["Retry-After"]) == 5


def test_pages_fit_the_callers_budget_and_go_on(gateway: RunningGateway, bearer: str) -> None:
    items = [{"pk": PREFIX + "#pages", "sk": f"{at:03}", "x": "x" * 1000} for at in range(60)]
    assert post(gateway.url, "put", {"items": items}, authorization=bearer).status == 200
    found: list[Any] = []
    body: dict[str, Any] = {"pk": PREFIX + "#pages", "limit": 1000, "max_bytes": 10_000, "read_limit": 50}
    for _ in range(20):
        page = post(gateway.url, "query", body, authorization=bearer).document
        assert len(json.dumps(page)) < 11_000
        found += page["items"]
        if page["complete"]:
            break
        body["cursor"] = page["cursor"]
    assert found == items
    assert post(gateway.url, "scan", body, authorization=bearer).status == 400


def test_every_curl_call_of_the_skill(tmp_path: Path) -> None:
    credentials, curl = (block.code for block in blocks("bash") if "API_URL" in block.code)
    operator = Operator(tmp_path)
    for name, prefix in (("alpha", "deploy#abc123"), ("beta", "dep_abc123_")):
        token = operator.deployments("add", name, "--prefix", prefix)
        with operator.serve() as gateway:
            output = run_bash(f"{credentials}\n{curl}", environment(API_URL=gateway.url, AUTH_TOKEN=token))
            answers = [json.loads(line) for line in output.splitlines() if line]
            own = prefix if prefix.endswith("_") else prefix + "#"
            ada = {"pk": own + "user#7", "sk": "PROFILE", "name": "Ada", "visits": 1}
            assert answers[0]["prefix"] == prefix
            assert answers[1]["created"] is True
            assert answers[2]["item"] == ada
            assert answers[3]["items"] == answers[4]["items"] == [ada]
            assert answers[5]["deleted"] is True
        assert [(entry["tool"], entry["status"]) for entry in gateway.requests()] == [
            (operation, 200) for operation in ("provision", "info", "put", "get", "query", "scan", "delete")
        ]
        assert token not in gateway.log
        assert "Ada" not in gateway.log


def test_seven_tools_over_stdio_through_the_gateway(gateway: RunningGateway, tmp_path: Path) -> None:
    token = gateway.token("deploy#stdio")
    with Server(tmp_path / "unused", DDB_MCP_API_URL=gateway.url, DDB_MCP_AUTH_TOKEN=token) as server:
        assert server.result("provision")["mode"] == "platform"
        info = server.result("info")
        assert (info["prefix"], info["tableName"]) == ("deploy#stdio", "gateway-table")
        key = {"pk": "deploy#stdio#user#7", "sk": "PROFILE"}
        exact = {**key, "tags": {"SS": ["a"]}, "n": {"N": "12345678901234567890"}, "map": {"M": {"N": {"S": "5"}}}}
        assert server.result("put", item=exact, create_only=True)["created"] is True
        assert server.call("put", item=exact, create_only=True).error["code"] == "condition_failed"
        assert server.result("get", **key)["item"] == exact
        assert server.result("put", item={**key, "more": 1}, merge=True, remove=["map"])["dropped"] == {
            "map": exact["map"]
        }
        assert server.result("query", pk=key["pk"], sk_prefix="PRO", filter={"more": {"gt": 0}})["count"] == 1
        assert server.result("scan", view="summary")["groups"][0]["count"] == 1
        assert server.call("get", pk="deploy#http#a", sk="1").error["code"] == "prefix_violation"
        assert server.result("delete", **key, expect={"more": 1})["deleted"] is True
        assert token not in server.log
    assert not (tmp_path / "unused").exists()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "gateway")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


def test_tls_and_a_client_that_checks_it(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    token = operator.deployments("add", "alpha")
    chain, key = map(str, certificate)
    with operator.serve("--tls-cert", chain, "--tls-key", key) as gateway:
        assert gateway.url.startswith("https://127.0.0.1:")
        settings = {"DDB_MCP_API_URL": gateway.url, "DDB_MCP_AUTH_TOKEN": token, "DDB_MCP_LOCAL_PATH": ""}
        trusted = operator.run("call", "info", SSL_CERT_FILE=chain, **settings)
        assert json.loads(trusted.stdout)["prefix"] == "deploy#alpha", trusted.stderr
        stranger = operator.run("call", "info", **settings)
        assert stranger.returncode != 0
        assert "TLS certificate" in stranger.stderr + stranger.stdout


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", ""])
def test_it_does_not_listen_beyond_this_machine_in_the_clear(tmp_path: Path, host: str) -> None:
    operator = Operator(tmp_path)
    done = operator.run("gateway", "serve", "--port", "0", "--host", host)
    assert done.returncode == 2
    assert "--behind-tls-proxy" in done.stderr


def test_it_does_where_a_proxy_speaks_tls(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    with operator.serve("--host", "0.0.0.0", "--behind-tls-proxy") as gateway:
        assert request(f"http://127.0.0.1:{gateway.port}", "GET", "/health", None, {}).status == 200


def test_ports_and_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    (tmp_path / "bad.pem").write_text("no certificate")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for arguments in (
            ["--port", str(taken.getsockname()[1])],
            ["--port", "70000"],
            ["--port", "0", "--tls-cert", str(tmp_path / "bad.pem"), "--tls-key", str(tmp_path / "bad.pem")],
            ["--port", "0", "--tls-cert", str(tmp_path / "no.pem"), "--tls-key", str(tmp_path / "no.pem")],
            ["--port", "0", "--tls-cert", str(tmp_path / "bad.pem")],
        ):
            done = operator.run("gateway", "serve", *arguments)
            assert done.returncode == 2
            assert done.stderr.count("\n") == 1, done.stderr


def begin_a_put(connection: socket.socket, gateway: GatewayProcess, token: str) -> bytes:
    """Send a put but for the end of its body, which is returned, and see that the gateway has taken it."""
    body = json.dumps({"item": json.dumps({"pk": "deploy#alpha#a", "sk": "1"})}).encode()
    head = f"POST {PATH}put HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
    request(gateway.url, "GET", "/health", None, {})  # connections are taken in their order
    return body[10:]


def test_the_end_waits_for_requests_under_way(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    token = operator.deployments("add", "alpha")
    with operator.serve() as gateway, socket.create_connection(("127.0.0.1", gateway.port)) as slow:
        rest = begin_a_put(slow, gateway, token)
        gateway.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 300
        while _listens(gateway.port):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        slow.sendall(rest)
        assert b"200 OK" in slow.recv(1000)
        assert gateway.process.wait(300) in (0, -signal.SIGTERM)
    with operator.serve() as gateway:
        answer = post(gateway.url, "get", {"pk": "deploy#alpha#a", "sk": "1"}, authorization=f"Bearer {token}")
        assert answer.document["found"] is True


def test_its_end_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running_gateway(LocalStore(tmp_path / "items.sqlite3", "gateway-table"), tmp_path):
        pass
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


MEMBERS = ["time", "client", "tenant", "token_id", "interface", "tool", "status", "error", "ms"]
MEMBERS += ["bytes_in", "bytes_out"]


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_each_request_is_a_line_in_the_log(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    with operator.serve() as gateway:
        request(gateway.url, "GET", "/health", None, {})
        request(gateway.url, "POST", "/nowhere/secret-path?token=secret-query", b"secret-body", {})
        request(gateway.url, "PUT", PATH + "put", b"{}", {"Authorization": "Bearer secret-token"})
        post(gateway.url, "drop", {}, authorization="Bearer secret-token")
        post(gateway.url, "scan", {}, authorization="Bearer secret-token")
    assert all(list(entry) == MEMBERS and entry["client"] == "127.0.0.1" for entry in gateway.requests())
    assert [(entry["tool"], entry["status"], entry["error"]) for entry in gateway.requests()] == [
        (None, 200, None),
        (None, 404, "not_found"),
        ("put", 405, "method_not_allowed"),
        (None, 404, "not_found"),
        ("scan", 401, "unauthenticated"),
    ]
    assert all(entry["bytes_out"] > 10 and entry["ms"] >= 0 for entry in gateway.requests())
    assert "secret" not in gateway.log


def test_the_log_tells_tenant_token_tool_and_outcome_on_both_interfaces(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    token = operator.deployments("add", "alice")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"}
    item = {"pk": "deploy#alice#secret", "sk": "secret", "text": "secret"}
    calls: list[tuple[str, Any]] = [
        ("put", {"item": item}),
        ("put", {"item": item, "create_only": True}),
        ("get", {"pk": "deploy#bob#secret", "sk": "secret"}),
    ]

    def message(method: str, params: Any) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()

    with operator.serve() as gateway:
        sent = [json.dumps(arguments).encode() for _, arguments in calls]
        got = [request(gateway.url, "POST", PATH + calls[at][0], body, headers) for at, body in enumerate(sent)]
        sent += [message("tools/call", {"name": tool, "arguments": arguments}) for tool, arguments in calls]
        sent += [message("tools/call", {"name": "secret", "arguments": {}}), message("secret", {}), b"[{},{}]", b"{"]
        got += [request(gateway.url, "POST", "/mcp", body, headers) for body in sent[3:]]
    lines = gateway.requests()
    outcomes = [None, "condition_failed", "prefix_violation"]
    assert [(line["interface"], line["tool"], line["error"]) for line in lines] == [
        *(("api", tool, outcome) for (tool, _), outcome in zip(calls, outcomes, strict=True)),
        *(("mcp", tool, outcome) for (tool, _), outcome in zip(calls, outcomes, strict=True)),
        *[("mcp", None, "invalid_request")] * 2,
        *[("mcp", None, "bad_request")] * 2,  # a batch, whose requests are all refused, and what is not JSON
    ]
    assert [line["status"] for line in lines] == [answer.status for answer in got]
    assert [line["bytes_in"] for line in lines] == [len(body) for body in sent]
    assert [line["bytes_out"] for line in lines] == [int(answer.headers["Content-Length"]) for answer in got]
    assert {(line["tenant"], line["token_id"]) for line in lines} == {("alice", token.split("_")[2])}
    assert "secret" not in gateway.log
    assert token not in gateway.log


def test_the_log_has_what_is_refused_before_the_gateway_sees_it(tmp_path: Path) -> None:
    with Operator(tmp_path).serve() as gateway, socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        framing = b"Transfer-Encoding: gzip, chunked\r\n"
        connection.sendall(b"POST /mcp HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n0\r\n\r\n")
        assert b" 400 " in connection.recv(1000)
    (line,) = gateway.requests()
    assert (line["status"], line["error"], line["interface"]) == (400, "invalid_argument", None)


def test_a_read_only_gateway(tmp_path: Path) -> None:
    operator = Operator(tmp_path, DDB_MCP_READ_ONLY="1")
    token = operator.deployments("add", "alpha")
    body = {"item": {"pk": "deploy#alpha#a", "sk": "1"}}
    with operator.serve() as gateway:
        answer = post(gateway.url, "put", body, authorization=f"Bearer {token}")
        assert (answer.status, answer.document["error"]) == (403, "read_only")
        assert post(gateway.url, "scan", {}, authorization=f"Bearer {token}").document["items"] == []
        settings = {"DDB_MCP_API_URL": gateway.url, "DDB_MCP_AUTH_TOKEN": token, "DDB_MCP_READ_ONLY": ""}
        assert json.loads(operator.run("call", "info", **settings).stdout)["readOnly"] is True
    assert operator.run("gateway", "deployments", "remove", "alpha", "--yes").returncode == 2


def test_a_token_made_or_ended_while_it_serves(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    with operator.serve() as gateway:
        first = operator.deployments("add", "alpha")
        assert post(gateway.url, "info", {}, authorization=f"Bearer {first}").status == 200
        second = operator.deployments("rotate", "alpha")
        assert post(gateway.url, "info", {}, authorization=f"Bearer {first}").status == 401
        assert post(gateway.url, "info", {}, authorization=f"Bearer {second}").status == 200


@pytest.mark.parametrize("action", ["rotate", "remove"])
def test_a_token_that_ends_while_the_body_comes_writes_nothing(tmp_path: Path, action: str) -> None:
    operator = Operator(tmp_path)
    operator.limits = {
        "ddb_mcp.web.request_context.BODY_SECONDS": 300,
        "ddb_mcp.gateway.tenant_requests.REQUEST_SECONDS": 300,
    }
    token = operator.deployments("add", "alpha")
    with operator.serve() as gateway, socket.create_connection(("127.0.0.1", gateway.port)) as slow:
        rest = begin_a_put(slow, gateway, token)
        operator.remove("alpha") if action == "remove" else operator.deployments(action, "alpha")
        time.sleep(tenant_requests.RECORD_SECONDS)
        token = operator.deployments("rotate" if action == "rotate" else "add", "alpha")
        slow.sendall(rest)
        assert b"401 Unauthorized" in slow.recv(1000)
        assert post(gateway.url, "scan", {}, authorization=f"Bearer {token}").document["items"] == []


@pytest.mark.parametrize("path", [PATH + "put", "/mcp"])
@pytest.mark.parametrize(
    "query",
    [
        "readonly=true",
        "read_only",
        "read_only=yes",
        "read_only=true&read_only=false",
        "read_only=true&x=1",
        "READ_ONLY=1",
    ],
)
def test_a_query_parameter_that_is_not_known_is_refused(
    gateway: RunningGateway, bearer: str, path: str, query: str
) -> None:
    content = json.dumps(item(n=1) if path != "/mcp" else {"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    answer = request(gateway.url, "POST", f"{path}?{query}", content, {"Authorization": bearer})
    assert (answer.status, answer.document["error"]) == (400, "invalid_argument")
    assert "?read_only=true" in answer.document["next"]


@pytest.mark.parametrize(("value", "status"), [("true", 403), ("1", 403), ("false", 200), ("0", 200)])
def test_read_only_works_on_the_http_api(gateway: RunningGateway, bearer: str, value: str, status: int) -> None:
    body = json.dumps(item(n=2)).encode()
    answer = request(gateway.url, "POST", f"{PATH}put?read_only={value}", body, {"Authorization": bearer})
    assert answer.status == status
    read = request(
        gateway.url, "POST", f"{PATH}get?read_only={value}", json.dumps(KEY).encode(), {"Authorization": bearer}
    )
    assert read.status == 200


def test_mcp_is_served_with_a_slash_too(gateway: RunningGateway, bearer: str) -> None:
    ping = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    answer = request(gateway.url, "POST", "/mcp/", ping, {"Authorization": bearer, "Content-Type": "application/json"})
    assert (answer.status, answer.document["result"]) == (200, {})
