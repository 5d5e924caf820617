"""How a test gets a direct store that talks to an engine, or to a proxy before it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from ddb_mcp.config import Settings
from ddb_mcp.keys import Prefix
from ddb_mcp.stores.direct import DirectStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.from_thread import BlockingPortal

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
    return DirectStore(Settings("direct", table=table, prefix=Prefix(prefix), **settings))


def connected(portal: BlockingPortal, endpoint: str, table: str, prefix: str) -> DirectStore:
    """A store whose client is made, so that the variables need not stay set."""
    store = direct(table, prefix)
    with aws(endpoint, **CREDENTIALS):
        portal.call(store.info)
    return store
