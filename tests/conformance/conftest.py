"""A server over HTTP, and Node with the packages of the hosts."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.protocol.test_http import listening
from tests.protocol.wire import DDB_MCP
from tests.support.engines import CONFORMANCE_MODULES, NODE, environment, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Node = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Runs Node in a folder where the hosts' packages are found, with a home of its own."""
    require("node", "conformance")
    folder: Path = tmp_path_factory.mktemp("node")
    (folder / "node_modules").symlink_to(CONFORMANCE_MODULES)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        settings = environment(HOME=str(folder))
        return subprocess.run([NODE, *arguments], cwd=folder, env=settings, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server over HTTP, in local mode."""
    path = tmp_path_factory.mktemp("data") / "data.sqlite"
    with listening((*DDB_MCP, "--http", "127.0.0.1:0"), DDB_MCP_LOCAL_PATH=str(path)) as (url, _):
        yield url
