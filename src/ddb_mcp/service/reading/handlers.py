"""`get`, `query` and `scan`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ddb_mcp.core.filters import filter_to_json
from ddb_mcp.core.items import Item
from ddb_mcp.core.text import count_bytes, shorten
from ddb_mcp.service.arguments import LIMIT_DEFAULT, GetArguments, QueryArguments, ScanArguments, Where
from ddb_mcp.service.call_context import CallContext
from ddb_mcp.service.cursors import INDEX_CURSOR_LENGTHS, SCAN_CURSOR_LENGTHS, count_sealed_bytes
from ddb_mcp.service.outlines import show_item
from ddb_mcp.service.reading.hints import explain_missing
from ddb_mcp.service.reading.pages import HINT_BYTES, PageReader
from ddb_mcp.service.reading.projections import Projection, parse_projection
from ddb_mcp.service.results import ITEM_ENVELOPE_BYTES, GetResult, PageResult, PartResult
from ddb_mcp.service.selection import parse_index_selection, parse_selection
from ddb_mcp.stores.base import Read
from ddb_mcp.stores.workers import offload

# Bytes of a hint about parts that were left out.
_LEFT_OUT_BYTES = 80


async def get(call: CallContext, arguments: GetArguments) -> GetResult:
    """Return one item by its key. All of it is read: DynamoDB charges for a part as for the whole.

    Raises:
        InvalidArgument, PrefixViolation: an argument is wrong.
        DdbMcpError: what the store raises.
    """
    key = call.prefix.check_key(arguments.pk, arguments.sk)
    projection = await offload(partial(parse_projection, arguments.attributes, parts=True), arguments.attributes)
    item = call.drop_foreign(await call.store.get(key))
    if item is None:
        return {"found": False}
    return await offload(partial(_show_found, item, projection, call.max_bytes), item)


def _show_found(item: Item, projection: Projection | None, max_bytes: int) -> GetResult:
    """Return the item as it is shown, in at most `max_bytes` bytes."""
    result: GetResult = {"found": True}
    hints: list[str] = []
    room = max_bytes - ITEM_ENVELOPE_BYTES
    if projection and (hint := explain_missing(projection, [item])):
        hints.append(shorten(hint, HINT_BYTES))
        room -= count_bytes({"hint": hints[0]})
    plain, outlined = show_item(item, room, paths=None if projection is None else projection.paths)
    parts: dict[str, PartResult] = {}
    if projection and projection.parts:
        room -= count_bytes(plain) + len('"parts":,') + (_LEFT_OUT_BYTES if len(projection.parts) > 1 else 0)
        parts, left_out = projection.cut_parts(item, room)
        if left_out:
            hints.append(f"{left_out} parts do not fit here; request them in another call.")
    if outlined:
        result["outlined"] = True
    if hints:
        result["hint"] = " ".join(hints)
    result["item"] = plain
    if projection and projection.parts:
        result["parts"] = parts
    return result


async def query(call: CallContext, arguments: QueryArguments) -> PageResult:
    """List items of one partition key of the table or of an index, in sort-key order.

    Raises:
        InvalidArgument, PrefixViolation, InvalidCursor: an argument is wrong.
        DdbMcpError: what the store raises, and Timeout if it returned nothing in time.
    """
    if arguments.index is not None:
        read = await parse_index_selection(call, arguments)
        return await _list_items(call, "query", arguments, read._replace(descending=bool(arguments.descending)))
    read = parse_selection(_make_where(arguments), call.prefix)
    return await _list_items(call, "query", arguments, read._replace(descending=bool(arguments.descending)))


async def scan(call: CallContext, arguments: ScanArguments) -> PageResult:
    """List items of all partition keys of the deployment. Raises as `query` does."""
    return await _list_items(call, "scan", arguments, parse_selection(_make_where(arguments), call.prefix))


def _make_where(arguments: QueryArguments | ScanArguments) -> Where:
    """Return the arguments that select items."""
    return Where.model_construct(**{name: getattr(arguments, name, None) for name in Where.model_fields})


async def _list_items(
    call: CallContext, operation: str, arguments: QueryArguments | ScanArguments, read: Read
) -> PageResult:
    projection = await offload(partial(parse_projection, arguments.attributes, parts=False), arguments.attributes)
    if arguments.view in ("keys", "count"):
        projection = Projection()
    index = read.secondary_index
    names = None if projection is None or arguments.view == "summary" else projection.list_names()
    if names is not None and index is not None:
        names = (*names, *index.key_names)
    read = read._replace(
        attributes=names,
        limit=arguments.limit or LIMIT_DEFAULT,
        read_limit=call.read_budget,
    )
    attributes = sorted(arguments.attributes or ())  # views without attributes have none in `read`
    bound = [operation, call.prefix.joined, arguments.view or "items", attributes, *_make_binding(read)]
    lengths: Sequence[int] = ()
    if index is not None:
        lengths = INDEX_CURSOR_LENGTHS
    elif operation == "scan" and call.store.positions_may_be_foreign:
        lengths = SCAN_CURSOR_LENGTHS
    carried = 0
    if arguments.cursor is not None:
        position, carried = call.seal.open(arguments.cursor, bound)
        read = read._replace(position=position)
    listing = PageReader(
        call.store.query if read.pk is not None else call.store.scan,
        call.prefix,
        read,
        view=arguments.view or "items",
        projection=projection,
        max_bytes=call.max_bytes,
        cursor_bytes=count_sealed_bytes(lengths[0]) if lengths else 0,
        carried=carried,
        seal=lambda position, total: call.seal.seal([position, total], bound, lengths),
    )
    return await listing.read_page(call.progress)


def _make_binding(read: Read) -> list[Any]:
    """Return the parts of a read that a cursor is bound to: not its limits, nor the order of members in its filter."""
    unlimited = read._replace(filter=(), attributes=None, limit=0, read_limit=0, max_bytes=0, secondary_index=None)
    return [unlimited, filter_to_json(read.filter), read.secondary_index and read.secondary_index.to_json()]
