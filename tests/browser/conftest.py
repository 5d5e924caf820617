"""A Chromium, and `ddb-mcp browse` as a process that it visits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser import data
from tests.browser.visits import Browse, Visit
from tests.support.chromium import chromium

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

expect.set_options(timeout=120_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A module at a time: while it runs, this thread has an event loop, which other tests could not bear."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def shared_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop") / "items.sqlite3"


@pytest.fixture
def file(shared_file: Path) -> Path:
    """A local store's file with the shop as it was at first, whatever a test before has changed."""
    data.store(shared_file, data.shop())
    others = [data.key(f"user#{name}", "PROFILE") for name in ("8", "9")]
    data.call(shared_file, "delete", keys=others)
    return shared_file


@pytest.fixture(scope="module")
def writing(shared_file: Path) -> Iterator[Browse]:
    """`ddb-mcp browse --write` over `file`."""
    with Browse(shared_file, "--write") as process:
        yield process


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens an address in a window of its own. At the end nothing may have gone wrong in any of them."""
    visits: list[Visit] = []

    def opened(address: str, *, width: int = 1280, height: int = 800, scheme: str = "light") -> Visit:
        visits.append(Visit(browser, address, width, height, scheme))
        return visits[-1]

    yield opened
    for visited in visits:
        visited.close()
    assert [trouble for visited in visits for trouble in visited.trouble] == []
