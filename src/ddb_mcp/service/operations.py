"""The seven operations: their names, texts, arguments and results, for every interface."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from ddb_mcp.service import deployment
from ddb_mcp.service.arguments import (
    Arguments,
    DeleteArguments,
    GetArguments,
    InfoArguments,
    ProvisionArguments,
    PutArguments,
    QueryArguments,
    ScanArguments,
)
from ddb_mcp.service.reading import handlers as reading
from ddb_mcp.service.results import DeleteResult, GetResult, InfoResult, PageResult, ProvisionResult, PutResult
from ddb_mcp.service.writing import handlers as writing

# The arguments of `put` and `delete` that write several items.
_SEVERAL = ("items", "keys", "where")


class Operation(NamedTuple):
    """One operation.

    Attributes:
        name: the tool's name, and the last part of the path of the HTTP API.
        title, description: the texts that models read.
        arguments: the model that checks what comes in.
        result: the type of the structured result.
        run: carries it out, given a `CallContext` and the checked arguments.
        writes: whether a read-only server leaves it out.
        destructive: whether it can replace or delete items.
        idempotent: whether twice with the same arguments is as good as once.
    """

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    result: type
    run: Callable[..., Awaitable[Any]]
    writes: bool = False
    destructive: bool = False
    idempotent: bool = True

    def is_listing(self, arguments: Any) -> bool:
        """Return whether a call with these arguments reads many items."""
        return self.name in ("query", "scan") or (isinstance(arguments, dict) and "where" in arguments)

    def ends_with_client(self, arguments: Any) -> bool:
        """Return whether a call with these arguments ends when its client leaves.

        A write of a single item is finished. Of several writes, those not yet begun are left out: nobody learns which
        were done, and they would keep others waiting.
        """
        return not self.writes or (isinstance(arguments, dict) and any(arguments.get(name) for name in _SEVERAL))


OPERATIONS = (
    Operation(
        "provision",
        "Provision the table",
        "Create the table (or local file) if it does not exist, and return its name, prefix, mode and instructions. "
        "Call it first in a new project; safe to repeat.",
        ProvisionArguments,
        ProvisionResult,
        deployment.provision,
        writes=True,
    ),
    Operation(
        "info",
        "Show the deployment",
        "Table name, prefix, mode, limits and instructions; changes nothing. Every pk starts with the prefix.",
        InfoArguments,
        InfoResult,
        deployment.info,
    ),
    Operation(
        "get",
        "Get one item",
        "Read one item by its full key. A long item is returned as an outline of paths. For items under one pk: query.",
        GetArguments,
        GetResult,
        reading.get,
    ),
    Operation(
        "put",
        "Put items",
        "Store an item, or up to 100. Replaces the whole stored item and returns what is lost in `dropped`; "
        "with merge, remove or add, changes only what these name. create_only and expect guard it; where changes many.",
        PutArguments,
        PutResult,
        writing.put,
        writes=True,
        destructive=True,
        idempotent=False,
    ),
    Operation(
        "delete",
        "Delete items",
        "Delete one item by its key and return it, up to 100 keys, or all that match where.",
        DeleteArguments,
        DeleteResult,
        writing.delete,
        writes=True,
        destructive=True,
    ),
    Operation(
        "query",
        "Query one partition",
        "List items of one pk in sort-key order, narrowed by sk_prefix or by sk_from and sk_to. Prefer it to scan. "
        "While complete is false, call again with cursor.",
        QueryArguments,
        PageResult,
        reading.query,
    ),
    Operation(
        "scan",
        "Scan the deployment",
        "List items across pks; reads the whole table, other deployments' items included. Start with view: summary to "
        "see what there is; use query once the pk is known.",
        ScanArguments,
        PageResult,
        reading.scan,
    ),
)

BY_NAME = {operation.name: operation for operation in OPERATIONS}
