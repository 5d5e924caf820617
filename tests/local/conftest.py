"""Fixtures of the local store's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.local.data import Data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the file would be; neither it nor its directory is there yet."""
    return tmp_path / "user data" / "a 100% #1 file?.sqlite3"


@pytest.fixture
def open_data() -> Iterator[Callable[[Path], Data]]:
    """Opens files; closes them after the test."""
    opened: list[Data] = []

    def open_data(path: Path) -> Data:
        opened.append(Data(path))
        return opened[-1]

    yield open_data
    for data in opened:
        data.close()


@pytest.fixture
def data(file: Path, open_data: Callable[[Path], Data]) -> Data:
    return open_data(file)
