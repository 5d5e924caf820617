"""A portal into one event loop, a table on dynoxide, and a proxy before it that makes faults."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ddb_mcp.stores.direct import aws as aws_module
from ddb_mcp.stores.direct import session
from ddb_mcp.stores.direct import session as aws_session
from tests.direct.support import CREDENTIALS, aws
from tests.support.faults import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.engines import Engine


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="session", autouse=True)
def files_read_once() -> Iterator[None]:
    """The megabytes of JSON that botocore makes a client from, read once for hundreds of clients, as boto3 does."""
    load = aws_session._FastFileLoader().load_file

    @functools.cache
    def loaded(path: str) -> Any:
        return load(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aws_session._FastFileLoader, "load_file", lambda files, path: loaded(path))
        yield


@pytest.fixture
def proxy(dynoxide: Engine) -> Iterator[FaultProxy]:
    with FaultProxy(dynoxide.endpoint) as proxy, aws(proxy.endpoint, **CREDENTIALS):
        yield proxy


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine makes all its attempts, and has the time to make a client."""
    monkeypatch.setattr(aws_module, "AWS_LAST_ATTEMPT_SECONDS", 1000.0)
    monkeypatch.setattr(aws_module, "AWS_STUCK_SECONDS", 1000.0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits between attempts, so that a fault that lasts is given up soon."""
    monkeypatch.setattr(aws_module, "BACKOFF_SECONDS", 0.001)


@pytest.fixture
def impatient(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits for answers too, where one will not come. A slow machine asks again."""
    monkeypatch.setattr(session, "AWS_READ_SECONDS", 1.0)
