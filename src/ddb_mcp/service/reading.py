"""`get`, `query` and `scan`."""

from dataclasses import asdict, replace

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import Filter, KeyRange, parse_range
from ddb_mcp.core.filters import parse_filter
from ddb_mcp.core.items import item_to_json
from ddb_mcp.service.arguments import GetArguments, QueryArguments, ScanArguments, attribute_names
from ddb_mcp.service.calls import Call
from ddb_mcp.service.listing import Listing
from ddb_mcp.service.outlines import shown
from ddb_mcp.service.results import GetResult, PageResult
from ddb_mcp.stores.base import Read


async def get(call: Call, arguments: GetArguments) -> GetResult:
    """One item by its key."""
    key = call.own.check_key(arguments.pk, arguments.sk)
    item = call.guarded(await call.store.get(key, attribute_names(arguments.attributes, "attributes")))
    if item is None:
        return {"found": False}
    if arguments.attributes is not None:
        return {"found": True, "item": item_to_json(item)}  # what was asked for by name comes whole
    plain, outlined = shown(item, call.max_bytes - limits.ITEM_ENVELOPE_BYTES)
    return {"found": True, "item": plain, "outlined": True} if outlined else {"found": True, "item": plain}


async def query(call: Call, arguments: QueryArguments) -> PageResult:
    """Items of one partition key, in sort-key order."""
    pk = call.own.check(arguments.pk)
    keys = parse_range(arguments.sk_prefix, arguments.sk_from, arguments.sk_to)
    clauses = parse_filter(arguments.filter, "filter", keys_allowed=False) if arguments.filter else ()
    read = _read(call, arguments, clauses, pk=pk, keys=keys, descending=bool(arguments.descending))
    return await _list(call, "query", arguments, read)


async def scan(call: Call, arguments: ScanArguments) -> PageResult:
    """Items of all partition keys of the deployment."""
    pk_prefix = call.own.check_scan(arguments.pk_prefix)
    clauses = parse_filter(arguments.filter, "filter") if arguments.filter else ()
    return await _list(call, "scan", arguments, _read(call, arguments, clauses, pk_prefix=pk_prefix))


def _read(
    call: Call,
    arguments: QueryArguments | ScanArguments,
    clauses: Filter,
    *,
    pk: str | None = None,
    pk_prefix: str | None = None,
    keys: KeyRange | None = None,
    descending: bool = False,
) -> Read:
    attributes = attribute_names(arguments.attributes, "attributes")
    return Read(
        pk=pk,
        pk_prefix=pk_prefix,
        range=keys or KeyRange(),
        filter=clauses,
        attributes=() if arguments.view in ("keys", "count") else attributes,
        descending=descending,
        limit=arguments.limit or limits.LIMIT_DEFAULT,
        read_limit=call.read_budget,
    )


async def _list(call: Call, operation: str, arguments: QueryArguments | ScanArguments, read: Read) -> PageResult:
    attributes = sorted(arguments.attributes or ())  # views without attributes have none in `read`
    bound = [operation, call.own.joined, arguments.view or "items", attributes, asdict(_in_order(read))]
    carried = 0
    if arguments.cursor is not None:
        position, carried = call.seal.open(arguments.cursor, bound)
        read = replace(read, position=position)
    listing = Listing(
        call.store.query if read.pk is not None else call.store.scan,
        call.own,
        read,
        view=arguments.view or "items",
        max_bytes=call.max_bytes,
        carried=carried,
        seal=lambda position, total: call.seal.seal([position, total], bound),
    )
    return await listing.run(call.progress)


def _in_order(read: Read) -> Read:
    """What of a read a cursor is bound to: not its limits, nor the order in which a host sends a filter's members."""
    clauses = tuple(sorted(read.filter, key=repr))
    return replace(read, filter=clauses, attributes=None, limit=0, read_limit=0, max_bytes=0)
