"""Fixtures of the protocol tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.protocol.wire import TOY, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def local(tmp_path: Path) -> dict[str, str]:
    """Settings of a server in local mode with a file of its own."""
    return {"DDB_MCP_LOCAL_PATH": str(tmp_path / "data.sqlite")}


@pytest.fixture
def toy() -> Iterator[Wire]:
    """The toy server after a handshake."""
    with Wire(TOY) as wire:
        wire.shake_hands()
        yield wire
