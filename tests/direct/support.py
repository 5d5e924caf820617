"""How a test gets a direct store that talks to an engine, or to a proxy before it."""

from __future__ import annotations

import io
import os
import time
import uuid
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from ddb_mcp.config.settings import DirectSettings
from ddb_mcp.core.keys import Prefix
from ddb_mcp.stores.direct.store import DirectStore
from tests.support.engines import PARAMETERS, client_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.from_thread import BlockingPortal
    from mypy_boto3_lambda import LambdaClient

    from tests.support.engines import Engine

ANY_SCHEMA = pytest.mark.parametrize("engine", PARAMETERS[:-1], indirect=True)
"""The engines with tables of any keys and indexes; the endpoint has only those that the stores can use."""
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@contextmanager
def aws(endpoint: str | None, **variables: str | None) -> Iterator[None]:
    """AWS's variables as a user sets them (None: not at all), and nothing of the machine's own AWS settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("AWS_"):
                patch.delenv(name)
        endpoints = {f"AWS_ENDPOINT_URL_{service}": endpoint for service in ("DYNAMODB", "LAMBDA", "STS") if endpoint}
        nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        offline = {"AWS_EC2_METADATA_DISABLED": "true"}
        region = {"AWS_DEFAULT_REGION": "us-east-1"}
        for name, value in {**endpoints, **nowhere, **offline, **region, **variables}.items():
            if value is not None:
                patch.setenv(name, value)
        yield


def direct(table: str, prefix: str = "deploy#me", **settings: Any) -> DirectStore:
    return DirectStore(DirectSettings(table=table, prefix=Prefix(prefix), **settings))


def connected(portal: BlockingPortal, endpoint: str, table: str, prefix: str) -> DirectStore:
    """A store whose client is made, so that the variables need not stay set."""
    store = direct(table, prefix)
    with aws(endpoint, **CREDENTIALS):
        portal.call(store.info)
    return store


def lambda_function(ministack: Engine) -> str:
    """A new function whose environment has a variable of its own and an old one of ours."""
    name = f"fn-{uuid.uuid4().hex[:8]}"
    iam = boto3.client("iam", endpoint_url=ministack.endpoint, **client_options())
    role: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("index.js", "exports.handler = async () => 1;")
    functions: LambdaClient = boto3.client("lambda", endpoint_url=ministack.endpoint, **client_options())
    functions.create_function(
        FunctionName=name,
        Runtime="nodejs22.x",
        Role=role,
        Handler="index.handler",
        Code={"ZipFile": code.getvalue()},
        Environment={"Variables": {"OTHER": "kept", "DYNAMODB_TABLE": "old"}},
    )
    deadline = time.monotonic() + 300
    while functions.get_function_configuration(FunctionName=name).get("LastUpdateStatus") == "InProgress":
        assert time.monotonic() < deadline, "the function is not made"
        time.sleep(0.05)
    return name
