"""Fixtures of the endpoint's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.endpoint.support import Table

if TYPE_CHECKING:
    from tests.support.engines import Engine


@pytest.fixture
def table(endpoint: Engine) -> Table:
    return Table(endpoint)
