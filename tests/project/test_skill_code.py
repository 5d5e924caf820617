"""Every code block of the skill, run."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from ddb_mcp.cli import export_items
from ddb_mcp.config.resolve import resolve_settings
from ddb_mcp.config.settings import DirectSettings
from ddb_mcp.core.keys import Prefix
from ddb_mcp.service.arguments import Where
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.local.store import LocalStore
from tests.support.engines import environment
from tests.support.faults import Answer, FaultProxy, throttled
from tests.support.skill_blocks import blocks, run_bash, run_functions, run_handler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.engines import Engine

(HANDLER,) = blocks("javascript")
(PYTHON,) = blocks("python")
LOCAL_ENVIRONMENT, BACKFILL, UNDO, CREDENTIALS, CURL = blocks("bash")
CALLS = [call for block in blocks("jsonl") for call in block.calls()]
OWN = Prefix("deploy#abc123")


def test_every_block_is_of_a_kind_that_is_run_here() -> None:
    assert {block.language for block in blocks()} == {"javascript", "python", "bash", "jsonl"}


# Tool calls


def test_calls_do_what_the_skill_says_one_after_the_other(tmp_path: Path) -> None:
    service = DataService(LocalStore(tmp_path / "items.sqlite3", "app-data"), OWN)

    async def run() -> list[dict[str, Any]]:
        results = [await service.run_operation(tool, arguments) for tool, arguments in CALLS]
        results.append(await service.run_operation("get", {"pk": "deploy#abc123#product#10", "sk": "STOCK"}))
        await service.store.close()
        return results

    *results, renamed = anyio.run(run)
    assert not any(result.get("failed") for result in results)
    assert all(result["complete"] for result in results if "complete" in result)
    selected = [
        result["matched"] for result, (_, arguments) in zip(results, CALLS, strict=True) if "where" in arguments
    ]
    assert selected == [1, 1, 1, 1, 1], "every example with where finds something"
    assert renamed["item"]["left"] == 1


# App code


def request(method: str, path: str, body: object = None, **query: str) -> dict[str, Any]:
    """An event of a Lambda function URL, payload version 2.0."""
    event: dict[str, Any] = {"rawPath": path, "requestContext": {"http": {"method": method}}}
    if body is not None:
        event["body"] = json.dumps(body)
    if query:
        event["queryStringParameters"] = query
    return event


def renamed_ada(own: str, user: str) -> list[dict[str, Any]]:
    """The stored items of a user who was added as Ada and renamed once."""
    return [
        {"pk": {"S": f"{own}email#ada@example.com"}, "sk": {"S": "CLAIM"}, "user": {"S": user}},
        {
            "pk": {"S": f"{own}user#{user}"},
            "sk": {"S": "PROFILE"},
            "email": {"S": "ada@example.com"},
            "name": {"S": "Ada L."},
            "version": {"N": "2"},
        },
    ]


def exported(shell: dict[str, str]) -> dict[str, str]:
    """The environment of `shell` after the skill's block for an engine on localhost."""
    lines = run_bash(f"{LOCAL_ENVIRONMENT.code}\nenv -0", shell).split("\0")
    return dict(line.split("=", 1) for line in lines if line)


@pytest.fixture
def app(dynoxide: Engine) -> dict[str, str]:
    """The environment that the skill gives an app for an engine on localhost, with a table of this test's own."""
    variables = exported(environment(AWS_ENDPOINT_URL_DYNAMODB=dynoxide.endpoint))
    return {**variables, "DYNAMODB_TABLE": dynoxide.create_table()}


def test_environment_for_an_engine_on_localhost_means_direct_mode() -> None:
    variables = exported({"PATH": environment()["PATH"]})
    settings = resolve_settings(variables)
    assert isinstance(settings, DirectSettings)
    assert (settings.table, settings.prefix) == ("app-data", OWN)
    assert variables["AWS_ENDPOINT_URL_DYNAMODB"] == "http://127.0.0.1:8000"


@pytest.mark.parametrize(("prefix", "own"), [("deploy#abc123", "deploy#abc123#"), ("dep_abc123_", "dep_abc123_")])
def test_handler_writes_items_of_its_deployment(
    dynoxide: Engine, app: dict[str, str], tmp_path: Path, prefix: str, own: str
) -> None:
    app["DYNAMODB_PREFIX"] = prefix
    ada = {"email": "ada@example.com", "name": "Ada"}
    created, again = run_handler(HANDLER.code, [request("POST", "/users", ada)] * 2, app, tmp_path)
    assert (created["statusCode"], again["statusCode"]) == (201, 409)
    user = json.loads(created["body"])["id"]
    post, renamed, stale = run_handler(
        HANDLER.code,
        [
            request("POST", f"/users/{user}/posts", {"title": "Hello"}),
            request("PATCH", f"/users/{user}", {"name": "Ada L.", "version": 1}),
            request("PATCH", f"/users/{user}", {"name": "Eve", "version": 1}),
        ],
        app,
        tmp_path,
    )
    assert [answer["statusCode"] for answer in (post, renamed, stale)] == [201, 200, 409]

    stored = dynoxide.client().scan(TableName=app["DYNAMODB_TABLE"])["Items"]
    assert sorted(stored, key=lambda item: (item["pk"]["S"], item["sk"]["S"])) == sorted(
        [
            *renamed_ada(own, user),
            {"pk": {"S": f"{own}user#{user}"}, "sk": {"S": json.loads(post["body"])["sk"]}, "title": {"S": "Hello"}},
        ],
        key=lambda item: (item["pk"]["S"], item["sk"]["S"]),
    )
    for item in stored:
        Prefix(prefix).check_pk(item["pk"]["S"])


WRONG_REQUESTS: list[tuple[str, str, str, Any, int]] = [
    ("no email", "POST", "/users", {"name": "Ada"}, 400),
    ("an email that is none", "POST", "/users", {"email": "ada", "name": "Ada"}, 400),
    ("an email that is no text", "POST", "/users", {"email": 7, "name": "Ada"}, 400),
    ("no name", "POST", "/users", {"email": "ada@example.com"}, 400),
    ("a body that is null", "POST", "/users", None, 400),
    ("a title that is blank", "POST", "/users/7/posts", {"title": " "}, 400),
    ("a version that is no number", "PATCH", "/users/7", {"name": "Ada", "version": "1"}, 400),
    ("a limit that is no number", "GET", "/users/7/posts?limit=abc", None, 400),
    ("a limit of none", "GET", "/users/7/posts?limit=0", None, 400),
    ("a cursor of another kind", "GET", "/users/7/posts?after=PROFILE", None, 400),
    ("an escape that is none", "GET", "/users/%E0%A4%A/posts", None, 400),
    ("an unknown user renamed", "PATCH", "/users/8", {"name": "Ada", "version": 1}, 404),
    ("an unknown user's post", "POST", "/users/8/posts", {"title": "Hello"}, 404),
    ("an unknown user's posts", "GET", "/users/8/posts", None, 404),
    ("no such route", "GET", "/", None, 404),
    ("no such method", "DELETE", "/users/7", None, 404),
]


def test_handler_answers_wrong_requests_and_stores_nothing(
    dynoxide: Engine, app: dict[str, str], tmp_path: Path
) -> None:
    client, table = dynoxide.client(), app["DYNAMODB_TABLE"]
    user = {"pk": {"S": OWN.joined + "user#7"}, "sk": {"S": "PROFILE"}, "version": {"N": "1"}}
    client.put_item(TableName=table, Item=user)
    events = []
    for _, method, path, body, _ in WRONG_REQUESTS:
        path, _, query = path.partition("?")
        sent = request(method, path, body, **dict([query.split("=")] if query else []))
        events.append({**sent, "body": json.dumps(body)} if body is None and method == "POST" else sent)
    bad_json = {**request("POST", "/users", {}), "body": "{"}
    answers = run_handler(HANDLER.code, [*events, bad_json], app, tmp_path)
    got = {case[0]: answer["statusCode"] for case, answer in zip(WRONG_REQUESTS, answers, strict=False)}
    assert got == {case[0]: case[4] for case in WRONG_REQUESTS}
    assert answers[-1]["statusCode"] == 400
    assert all(json.loads(answer["body"])["error"] for answer in answers)
    assert client.scan(TableName=table)["Items"] == [user]


def test_handler_reads_every_page_of_what_was_stored(dynoxide: Engine, app: dict[str, str], tmp_path: Path) -> None:
    client = dynoxide.client()
    user = {"pk": {"S": OWN.joined + "user#7"}, "sk": {"S": "PROFILE"}, "name": {"S": "Ada"}}
    client.put_item(TableName=app["DYNAMODB_TABLE"], Item=user)
    for at in range(25):
        # Three of four are hidden, so that pages come back short or empty and the handler has to go on.
        hidden: dict[str, Any] = {} if at % 4 == 0 else {"hidden": {"BOOL": True}}
        key = {"pk": {"S": OWN.joined + "user#7"}, "sk": {"S": f"POST#{at:03}"}}
        client.put_item(TableName=app["DYNAMODB_TABLE"], Item={**key, **hidden})
    found, after = [], ""
    for _ in range(8):
        query = {"limit": "2", **({"after": after} if after else {})}
        (answer,) = run_handler(HANDLER.code, [request("GET", "/users/7/posts", **query)], app, tmp_path)
        page = json.loads(answer["body"])
        assert all("pk" not in post for post in page["posts"])
        found += [post["sk"] for post in page["posts"]]
        after = page.get("after", "")
        if not after:
            break
    assert found == [f"POST#{at:03}" for at in range(24, -1, -4)]
    assert after == ""


def test_numbers_beyond_2_53_in_the_document_client(dynoxide: Engine, app: dict[str, str], tmp_path: Path) -> None:
    """Not a block, but what the skill says of the SDK."""
    own = {"pk": {"S": OWN.joined + "n"}, "sk": {"S": "1"}}
    stored = {"large": {"N": "12345678901234567890"}, "long": {"N": "0.1234567890123456789"}}
    dynoxide.client().put_item(TableName=app["DYNAMODB_TABLE"], Item={**own, **stored})
    code = """
    const { DynamoDBClient } = require('@aws-sdk/client-dynamodb');
    const { DynamoDBDocumentClient, GetCommand, PutCommand, NumberValue } = require('@aws-sdk/lib-dynamodb');
    const TableName = process.env.DYNAMODB_TABLE, pk = process.env.DYNAMODB_PREFIX + '#n';
    const plain = DynamoDBDocumentClient.from(new DynamoDBClient({}));
    const exact = DynamoDBDocumentClient.from(new DynamoDBClient({}), { unmarshallOptions: { wrapNumbers: true } });
    const read = async (db) => (await db.send(new GetCommand({ TableName, Key: { pk, sk: '1' } }))).Item;
    const write = (value) => plain.send(new PutCommand({ TableName, Item: { pk, sk: '2', value } }));
    exports.handler = async () => {
      const rounded = await read(plain), wrapped = await read(exact);
      const refused = await write(2 ** 60).then(() => false, () => true);
      await write([12345678901234567890n, NumberValue.from('0.1234567890123456789')]);
      return [typeof rounded.large, String(rounded.long), String(wrapped.large), String(wrapped.long), refused];
    };
    """
    (answer,) = run_handler(code, [{}], app, tmp_path)
    assert answer == ["bigint", "0.12345678901234568", stored["large"]["N"], stored["long"]["N"], True]
    written = dynoxide.client().get_item(TableName=app["DYNAMODB_TABLE"], Key={**own, "sk": {"S": "2"}})
    assert written["Item"]["value"] == {"L": [stored["large"], stored["long"]]}


ADD_ADA: dict[str, Any] = {"add_user": {"email": "ada@example.com", "name": "Ada"}}


@pytest.mark.parametrize(("prefix", "own"), [("deploy#abc123", "deploy#abc123#"), ("dep_abc123_", "dep_abc123_")])
def test_python_writes_items_of_its_deployment(
    dynoxide: Engine, app: dict[str, str], tmp_path: Path, prefix: str, own: str
) -> None:
    app["DYNAMODB_PREFIX"] = prefix
    user, taken = run_functions(PYTHON.code, [ADD_ADA] * 2, app, tmp_path)
    assert taken["error"] == ["TransactionCanceledException", "ConditionalCheckFailed", "None"]
    renames = [{"rename_user": {"id": user, "name": name, "version": 1}} for name in ("Ada L.", "Eve")]
    assert run_functions(PYTHON.code, renames, app, tmp_path) == [
        None,
        {"error": ["ConditionalCheckFailedException"]},
    ]
    stored = dynoxide.client().scan(TableName=app["DYNAMODB_TABLE"])["Items"]
    assert sorted(stored, key=lambda item: item["sk"]["S"]) == renamed_ada(own, user)
    assert all(Prefix(prefix).owns(item["pk"]["S"]) for item in stored)


def test_python_reads_every_page_of_what_was_stored(dynoxide: Engine, app: dict[str, str], tmp_path: Path) -> None:
    for at in range(25):
        hidden: dict[str, Any] = {} if at % 4 == 0 else {"hidden": {"BOOL": True}}
        key = {"pk": {"S": OWN.joined + "user#7"}, "sk": {"S": f"POST#{at:03}"}}
        dynoxide.client().put_item(TableName=app["DYNAMODB_TABLE"], Item={**key, **hidden})
    found, after = [], None
    for _ in range(8):
        call = {"list_posts": {"id": "7", "limit": 2, "after": after}}
        ((posts, after),) = run_functions(PYTHON.code, [call], app, tmp_path)
        found += [post["sk"] for post in posts]
        if after is None:
            break
    assert found == [f"POST#{at:03}" for at in range(24, -1, -4)]
    assert after is None


CONFLICT = Answer(
    400,
    {
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled, ... for specific reasons [None, TransactionConflict]",
        "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}],
    },
)


@pytest.mark.parametrize("language", ["javascript", "python"])
@pytest.mark.parametrize("fault", [CONFLICT, throttled()], ids=["conflict", "throttled"])
def test_app_code_repeats_what_passes_and_gives_up_what_does_not(
    dynoxide: Engine, app: dict[str, str], tmp_path: Path, language: str, fault: Answer
) -> None:
    def add() -> Any:
        if language == "python":
            return run_functions(PYTHON.code, [ADD_ADA], app, tmp_path)[0]
        (answer,) = run_handler(HANDLER.code, [request("POST", "/users", ADD_ADA["add_user"])], app, tmp_path)
        return answer["statusCode"]

    app["AWS_MAX_ATTEMPTS"] = "1"  # what the SDKs repeat themselves is no matter here
    for times, outcome in ((5, 503), (4, 201)):
        with FaultProxy(dynoxide.endpoint) as proxy:
            app["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.endpoint
            proxy.plan(fault, times=times, on="TransactWriteItems")
            added = add()
            assert proxy.count("TransactWriteItems") == 5
        if language == "javascript":
            assert added == outcome
        else:
            assert isinstance(added, str if outcome == 201 else dict)
    assert len(dynoxide.client().scan(TableName=app["DYNAMODB_TABLE"])["Items"]) == 2


# Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell on a local file with items."""
    variables = environment(
        DDB_MCP_LOCAL_PATH=str(tmp_path / "items.sqlite3"), DYNAMODB_PREFIX=OWN.text, HOME=str(tmp_path)
    )
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    shell = Shell(tmp_path, variables)
    items: list[dict[str, Any]] = [{"pk": f"{OWN.joined}user#{at}", "sk": "PROFILE", "n": at} for at in range(60)]
    items += [{"pk": f"{OWN.joined}user#{at}", "sk": f"ORDER#{at}", "status": "open"} for at in range(40)]
    items.append({"pk": OWN.joined + "user#pro", "sk": "PROFILE", "plan": "pro"})
    given = "".join(json.dumps(item) + "\n" for item in items)
    command = [str(Path(sys.executable).with_name("ddb-mcp")), "import"]
    subprocess.run(command, env=variables, input=given, text=True, check=True, capture_output=True)
    return shell


@dataclass
class Shell:
    folder: Path
    variables: dict[str, str]

    def run(self, code: str) -> str:
        return run_bash(f"cd {shlex.quote(str(self.folder))}\n{code}", self.variables)

    def scan(self, **arguments: str) -> list[dict[str, Any]]:
        given = " ".join(shlex.quote(f"{name}={text}") for name, text in arguments.items())
        items: list[dict[str, Any]] = json.loads(self.run(f"ddb-mcp call scan --all {given}"))["items"]
        return items


def test_a_backfill_stores_an_item_for_each_that_there_is_and_can_be_run_again(shell: Shell) -> None:
    written = {"pk": f"{OWN.joined}status#open", "sk": "ORDER#7#7", "user": "7", "by": "the app"}
    shell.run(f"ddb-mcp call put item={shlex.quote(json.dumps(written))}")
    for _ in range(2):
        output = shell.run(BACKFILL.code)
        assert '"count":40' in output.replace(" ", "")
        assert output.splitlines()[-1].strip() == "40"
    found = {item["sk"]: item for item in shell.scan(pk_prefix=f"{OWN.joined}status#open")}
    assert found["ORDER#7#7"] == written
    assert found["ORDER#39#39"] == {"pk": f"{OWN.joined}status#open", "sk": "ORDER#39#39", "user": "39"}


def test_a_bulk_change_is_undone_by_the_export_that_was_made_before(shell: Shell) -> None:
    export, undo = UNDO.code.split("# after")
    before = shell.scan()
    shell.run(export)
    (arguments,) = (arguments for _, arguments in CALLS if arguments.get("item") == {"plan": "free"})
    change = {name: value for name, value in arguments.items() if name != "dry_run"}
    given = " ".join(shlex.quote(f"{name}={json.dumps(value)}") for name, value in change.items())
    assert json.loads(shell.run(f"ddb-mcp call put {given}"))["written"] == 60
    assert shell.scan() != before
    shell.run(f"# after{undo}")
    assert shell.scan() == before


def test_export_takes_the_words_of_where() -> None:
    assert set(export_items._WHERE) == set(Where.model_fields)


class Platform(ThreadingHTTPServer):
    """Records requests and answers as the documented API does; stores nothing."""

    def __init__(self, prefix: str) -> None:
        super().__init__(("127.0.0.1", 0), PlatformRequest)
        self.prefix = prefix
        self.requests: list[tuple[str, str | None, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class PlatformRequest(BaseHTTPRequestHandler):
    server: Platform

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, self.headers["Authorization"], body))
        answer = json.dumps(
            {"tableName": "t", "prefix": self.server.prefix, "region": "r", "instructions": "i"}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(params=[("deploy#abc123", "deploy#abc123#"), ("dep_abc123_", "dep_abc123_")])
def platform(request: pytest.FixtureRequest) -> Iterator[tuple[Platform, str]]:
    prefix, own = request.param
    with Platform(prefix) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server, own
        server.shutdown()
        thread.join()


def test_curl_sends_the_documented_requests(platform: tuple[Platform, str]) -> None:
    server, own = platform
    shell = environment(API_URL=server.url, AUTH_TOKEN="secret-token")
    output = run_bash(f"{CREDENTIALS.code}\n{CURL.code}", shell)
    assert "secret-token" not in output
    assert {authorization for _, authorization, _ in server.requests} == {"Bearer secret-token"}
    key = {"pk": f"{own}user#7", "sk": "PROFILE"}
    put = next(body for path, _, body in server.requests if path.endswith("/put"))
    assert put.keys() == {"item"}
    assert json.loads(put["item"]) == {**key, "name": "Ada", "visits": 1}
    assert [(path.removeprefix("/api/data/dynamodb/"), body) for path, _, body in server.requests] == [
        ("provision", {}),
        ("info", {}),
        ("put", put),
        ("get", key),
        ("query", {"pk": key["pk"], "limit": 50}),
        ("scan", {"limit": 100}),
        ("delete", key),
    ]


def test_curl_keeps_the_token_out_of_its_arguments(tmp_path: Path) -> None:
    fake = tmp_path / "curl"
    fake.write_text('#!/bin/sh\necho "$@" >> "$ARGUMENTS"; cat > /dev/null; echo \'{"prefix": "a#b"}\'\n')
    fake.chmod(0o755)
    shell = environment(API_URL="http://127.0.0.1:1", AUTH_TOKEN="secret-token", ARGUMENTS=str(tmp_path / "arguments"))
    run_bash(CURL.code, {**shell, "PATH": f"{tmp_path}:{shell['PATH']}"})
    arguments = (tmp_path / "arguments").read_text()
    assert "/api/data/dynamodb/scan" in arguments
    assert "secret-token" not in arguments


@pytest.mark.parametrize("given", [{}, {"API_URL": "https://other.example"}, {"AUTH_TOKEN": "of-another-url"}])
def test_credentials_come_from_the_file_as_a_pair(tmp_path: Path, given: dict[str, str]) -> None:
    (tmp_path / ".rebyte.ai").mkdir()
    stored = {"sandbox": {"token": "file-token", "relay_url": "https://relay.example"}}
    (tmp_path / ".rebyte.ai" / "auth.json").write_text(json.dumps(stored))
    shell = {name: value for name, value in environment().items() if name not in ("API_URL", "AUTH_TOKEN")}
    output = run_bash(CREDENTIALS.code + 'echo "$API_URL $AUTH_TOKEN"', {**shell, "HOME": str(tmp_path), **given})
    # Only what the test itself prints: the block prints nothing.
    assert output == "https://relay.example file-token\n"


def test_credentials_in_the_environment_come_first(tmp_path: Path) -> None:
    shell = environment(API_URL="https://own.example", AUTH_TOKEN="own-token", HOME=str(tmp_path))
    shown = CREDENTIALS.code + 'echo "$API_URL $AUTH_TOKEN"'
    assert run_bash(shown, {**shell, "DDB_MCP_API_URL": "https://half.example"}) == "https://own.example own-token\n"
    ours = {"DDB_MCP_API_URL": "https://first.example", "DDB_MCP_AUTH_TOKEN": "first-token"}
    assert run_bash(shown, {**shell, **ours}) == "https://first.example first-token\n"
