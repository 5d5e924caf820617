"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.engines import PARAMETERS, Engine, running

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# Folders whose files take long. They begin first, so that no long file is left at the end, while other workers idle.
LONG = ("endpoint", "contract", "cli", "gateway", "direct", "protocol", "browser", "stdio", "project")


def pytest_configure(config: pytest.Config) -> None:
    # What a shell has set is not for the servers that the tests start. A job in its background ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost,::1"
    for name in list(os.environ):
        # A server with settings of the interpreter would take its full time to start (`tests/support/forking.py`).
        if name.startswith(("AWS_", "DDB_MCP_", "DYNAMODB_", "PYTHON")):
            del os.environ[name]
    config.addinivalue_line(
        "markers",
        "extended: not in `make test` but in `make test-engines`: further engines, packages, load",
    )
    config.addinivalue_line(
        "markers",
        "deviates(*engines, reason, raises): with these engines as a parameter the test must fail, "
        "because they differ from DynamoDB there",
    )


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Two workers more than cores: half of the time a test waits for a process, a clock or a disk."""
    return (yield) + 2


def _turn(item: pytest.Item) -> int:
    folder = item.path.parent.name
    return LONG.index(folder) if folder in LONG else len(LONG)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)
    for item in items:
        parameters = (
            item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
        )
        for mark in item.iter_markers("deviates"):
            if any(engine in parameters for engine in mark.args):
                item.add_marker(pytest.mark.xfail(**mark.kwargs))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spare the garbage collector what the tests are made of: its walks over that took a third of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop of tests that are coroutines: the servers' own."""
    return "asyncio"


@pytest.fixture(scope="session")
def dynoxide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running("dynoxide", tmp_path_factory.mktemp("dynoxide")) as engine:
        yield engine


@pytest.fixture(scope="session")
def dynalite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running("dynalite", tmp_path_factory.mktemp("dynalite")) as engine:
        yield engine


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running("ministack", tmp_path_factory.mktemp("ministack")) as engine:
        yield engine


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running("endpoint", tmp_path_factory.mktemp("endpoint")) as engine:
        yield engine


@pytest.fixture(scope="session", params=PARAMETERS)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn, started when the first test asks for it."""
    started: Engine = request.getfixturevalue(request.param)
    return started
