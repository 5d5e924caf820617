"""The app's side: the skill's Lambda handler under Node, with the environment that `provision` gave its function."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from ddb_mcp.core.keys import Prefix
from ddb_mcp.service.service import DataService
from tests.direct.support import CREDENTIALS, aws, direct, lambda_function
from tests.support.engines import client_options, environment
from tests.support.skill_blocks import blocks, run_handler

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.from_thread import BlockingPortal

    from tests.support.engines import Engine

(HANDLER,) = blocks("javascript")


def event(method: str, path: str, body: object = None) -> dict[str, Any]:
    """An event of a Lambda function URL, payload version 2.0."""
    sent = {} if body is None else {"body": json.dumps(body)}
    return {"rawPath": path, "requestContext": {"http": {"method": method}}, **sent}


@pytest.mark.parametrize("prefix", ["deploy#abc123", "dep_abc123_"])
def test_the_handler_and_the_tools_share_items(
    portal: BlockingPortal, ministack: Engine, tmp_path: Path, prefix: str
) -> None:
    functions = boto3.client("lambda", endpoint_url=ministack.endpoint, **client_options())
    name = lambda_function(ministack)
    with aws(ministack.endpoint, **CREDENTIALS):
        store = direct(f"app-{name}", prefix, lambda_functions=(name,))
        service = DataService(store, Prefix(prefix))
        made = portal.call(service.run_operation, "provision", {})
    assert made["created"] is True
    assert made["lambdaFunctions"] == [{"name": name, "state": "updated"}]

    given = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    lambda_gives = {"AWS_REGION": made["region"], **CREDENTIALS}
    env = environment(AWS_ENDPOINT_URL_DYNAMODB=ministack.endpoint, **lambda_gives, **given)
    ada = {"email": "ada@example.com", "name": "Ada"}
    (created,) = run_handler(HANDLER.code, [event("POST", "/users", ada)], env, tmp_path)
    assert created["statusCode"] == 201
    user = f"{Prefix(prefix).joined}user#{json.loads(created['body'])['id']}"

    profile = portal.call(service.run_operation, "get", {"pk": user, "sk": "PROFILE"})["item"]
    assert (profile["name"], profile["version"]) == ("Ada", 1)
    assert portal.call(service.run_operation, "scan", {"view": "count"})["count"] == 2

    post = {"pk": user, "sk": "POST#001", "title": "From the tools", "likes": 3}
    portal.call(service.run_operation, "put", {"item": post})
    path = f"/users/{json.loads(created['body'])['id']}/posts"
    (listed,) = run_handler(HANDLER.code, [event("GET", path)], env, tmp_path)
    (found,) = json.loads(listed["body"])["posts"]
    assert found.items() >= {"sk": "POST#001", "title": "From the tools", "likes": 3}.items()
