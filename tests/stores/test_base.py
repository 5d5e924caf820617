"""What every store has to be."""

from __future__ import annotations

import pytest

from ddb_mcp.stores.base import Store
from ddb_mcp.stores.local.store import LocalStore

OPERATIONS = {"provision", "info", "get", "put", "merge", "delete", "query", "scan", "close"}


@pytest.mark.parametrize("forgotten", sorted(OPERATIONS))
def test_a_store_without_one_of_the_operations_cannot_be_made(forgotten: str) -> None:
    methods = {name: getattr(LocalStore, name) for name in OPERATIONS - {forgotten}}
    half = type("Half", (Store,), methods)
    with pytest.raises(TypeError, match=forgotten):
        half()
