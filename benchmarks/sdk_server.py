"""What the SDK itself makes of seven tools like ours, written as its documentation shows: the floor to compare with.

Run as `python benchmarks/sdk_server.py`, over stdio. `noop` is for the cost of a call that does nothing.
"""

from typing import Any

from mcp.server import MCPServer

server = MCPServer("seven-tools")

Item = dict[str, Any]


@server.tool()
def noop() -> Item:
    """Does nothing."""
    return {}


@server.tool()
def info() -> Item:
    """Table, prefix and region of this deployment."""
    return {"tableName": "app", "prefix": "deploy#a", "region": "local"}


@server.tool()
def get(pk: str, sk: str, attributes: list[str] | None = None) -> Item:
    """One item by its key."""
    return {"found": True, "item": {"pk": pk, "sk": sk}}


@server.tool()
def put(item: Item | str, create_only: bool = False, expect: Item | None = None) -> Item:
    """Stores an item."""
    return {"created": True}


@server.tool()
def delete(pk: str, sk: str, expect: Item | None = None) -> Item:
    """Deletes an item."""
    return {"deleted": True}


@server.tool()
def query(
    pk: str, sk_prefix: str | None = None, filter: Item | None = None, limit: int = 50, cursor: str | None = None
) -> Item:
    """Items of one partition, in the order of their sort keys."""
    return {"items": [], "complete": True}


@server.tool()
def scan(filter: Item | None = None, limit: int = 50, cursor: str | None = None) -> Item:
    """All items."""
    return {"items": [], "complete": True}


if __name__ == "__main__":
    server.run("stdio")
