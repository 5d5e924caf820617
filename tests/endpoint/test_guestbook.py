"""The example and the skill's handler, as they stand: apps under Node find what the tools stored, and the reverse."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import anyio

from ddb_mcp.core.keys import Prefix
from ddb_mcp.service.instructions import make_local_environment
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.local.store import LocalStore
from tests.endpoint.support import serving
from tests.support.engines import NODE, NODE_MODULES, environment, require
from tests.support.skill_blocks import blocks as skill_blocks
from tests.support.skill_blocks import run_bash, run_handler

FOLDER = Path(__file__).parents[2] / "examples" / "guestbook"
README = (FOLDER / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return [block.replace("\n   ", "\n") for block in re.findall(rf"```{language}\n(.*?)\n *```", README, re.DOTALL)]


def test_the_readme_names_the_environment_that_provision_names() -> None:
    (exports,) = [block for block in blocks("sh") if "export" in block]
    exports = "\n".join(line for line in exports.splitlines() if "export" in line)
    names = [*make_local_environment("", "")]
    shown = subprocess.run(
        ["bash", "-c", f"{exports}\nenv"], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    ).stdout
    found = dict(line.split("=", 1) for line in shown.splitlines() if line.split("=")[0] in names)
    assert found == make_local_environment("ddb-mcp-local", "deploy#local")


def test_the_guestbook(tmp_path: Path) -> None:
    require("node", "engines")
    file = tmp_path / "items.sqlite3"
    provision, query, put = blocks("bash")
    tools = environment(DDB_MCP_LOCAL_PATH=str(file))
    tools["PATH"] = f"{Path(sys.executable).parent}:{tools['PATH']}"
    assert json.loads(run_bash(provision, tools))["created"] is True
    with serving(file, DYNAMODB_PREFIX="deploy#local") as engine:
        given = make_local_environment("ddb-mcp-local", "deploy#local", engine.endpoint)
        app = subprocess.Popen(
            [NODE, FOLDER / "app.js"],
            env=environment(NODE_PATH=str(NODE_MODULES), PORT="0", **given),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert app.stdout
            address = app.stdout.readline().strip()
            form = urllib.parse.urlencode({"name": "Ada <b>", "message": "Hello"}).encode()
            with urllib.request.urlopen(address, form, timeout=300) as shown:
                assert "Ada &#60;b&#62;</b>: Hello" in shown.read().decode()
            (entry,) = json.loads(run_bash(query, tools))["items"]
            assert (entry["name"], entry["message"]) == ("Ada <b>", "Hello")
            run_bash(put, tools)
            with urllib.request.urlopen(address, timeout=300) as shown:
                assert "The agent</b>: Hello from the tools" in shown.read().decode()
        finally:
            app.kill()
            app.communicate()


def test_the_sdk_for_javascript(tmp_path: Path) -> None:
    """`DynamoDBClient` and `DynamoDBDocumentClient`: values, numbers, errors and their members."""
    require("node", "engines")
    script = r"""
const { DynamoDBClient, PutItemCommand, ListTablesCommand } = require('@aws-sdk/client-dynamodb');
const lib = require('@aws-sdk/lib-dynamodb');
const client = new DynamoDBClient({ maxAttempts: 1 });
const db = lib.DynamoDBDocumentClient.from(client);
const TableName = process.env.DYNAMODB_TABLE, pk = process.env.DYNAMODB_PREFIX + '#x', said = {};
(async () => {
  const item = { pk, sk: '1', n: 1.5, big: 12345678901234567890n, tags: new Set(['a']), bytes: new Uint8Array([0, 255]), l: [null, true, {}] };
  await db.send(new lib.PutCommand({ TableName, Item: item }));
  const got = (await db.send(new lib.GetCommand({ TableName, Key: { pk, sk: '1' } }))).Item;
  said.got = { ...got, tags: [...got.tags], bytes: [...got.bytes], big: String(got.big) };
  const refuse = async (name, work) => { try { await work(); } catch (error) { said[name] = { name: error.name, message: error.message, item: error.Item ?? null, reasons: error.CancellationReasons ?? null }; } };
  await refuse('condition', () => client.send(new PutItemCommand({ TableName, Item: { pk: { S: pk }, sk: { S: '1' } }, ConditionExpression: 'attribute_not_exists(pk)', ReturnValuesOnConditionCheckFailure: 'ALL_OLD' })));
  await refuse('transaction', () => db.send(new lib.TransactWriteCommand({ TransactItems: [{ Put: { TableName, Item: { pk, sk: '2' }, ConditionExpression: 'attribute_exists(pk)' } }] })));
  await refuse('validation', () => db.send(new lib.UpdateCommand({ TableName, Key: { pk, sk: '1' }, UpdateExpression: 'SET status = pk' })));
  await refuse('denied', () => db.send(new lib.GetCommand({ TableName, Key: { pk: 'x', sk: '1' } })));
  const pages = lib.paginateScan({ client: db, pageSize: 1 }, { TableName });
  said.scanned = 0;
  for await (const page of pages) said.scanned += page.Count;
  said.tables = (await client.send(new ListTablesCommand({}))).TableNames;
  process.stdout.write(JSON.stringify(said));
})();
"""  # noqa: E501
    with serving(tmp_path / "items.sqlite3") as engine:
        client: Any = engine.client()
        keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
        attributes = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
        client.create_table(
            TableName="app", KeySchema=keys, AttributeDefinitions=attributes, BillingMode="PAY_PER_REQUEST"
        )
        given = make_local_environment("app", "deploy#app1", engine.endpoint)
        command = [str(NODE), "-e", script]
        env = environment(NODE_PATH=str(NODE_MODULES), **given)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["got"] == {
        "pk": "deploy#app1#x",
        "sk": "1",
        "n": 1.5,
        "big": "12345678901234567890",
        "tags": ["a"],
        "bytes": [0, 255],
        "l": [None, True, {}],
    }
    assert said["condition"]["name"] == "ConditionalCheckFailedException"
    assert said["condition"]["item"]["sk"] == {"S": "1"}
    assert said["transaction"]["name"] == "TransactionCanceledException"
    assert said["transaction"]["reasons"][0]["Code"] == "ConditionalCheckFailed"
    assert said["validation"]["name"] == "ValidationException"
    assert "reserved keyword: status" in said["validation"]["message"]
    assert said["denied"]["name"] == "AccessDeniedException"
    assert (said["scanned"], said["tables"]) == (1, ["app"])


def test_the_skills_handler_and_the_tools_see_the_same_items(tmp_path: Path) -> None:
    require("node", "engines")
    (handler,) = skill_blocks("javascript")
    file = tmp_path / "items.sqlite3"
    service = DataService(LocalStore(file, "app-data"), Prefix("deploy#abc123"))

    def tool(name: str, **arguments: Any) -> Any:
        return anyio.run(service.run_operation, name, arguments)

    def app(method: str, path: str, body: Any = None) -> Any:
        event = {"rawPath": path, "requestContext": {"http": {"method": method}}, "body": json.dumps(body)}
        (answer,) = run_handler(handler.code, [event], variables, tmp_path)
        return answer["statusCode"], json.loads(answer["body"])

    tool("provision")
    with serving(file, DYNAMODB_PREFIX="deploy#abc123", DYNAMODB_TABLE="app-data") as engine:
        variables = environment(**make_local_environment("app-data", "deploy#abc123", engine.endpoint))
        status, created = app("POST", "/users", {"email": "ada@example.com", "name": "Ada"})
        user = f"deploy#abc123#user#{created['id']}"
        assert status == 201
        assert tool("get", pk=user, sk="PROFILE")["item"]["name"] == "Ada"
        tool("put", item={"pk": user, "sk": "POST#1", "title": "From the tools"})
        status, page = app("GET", f"/users/{created['id']}/posts")
        assert (status, page["posts"]) == (200, [{"sk": "POST#1", "title": "From the tools"}])
    anyio.run(service.store.close)
