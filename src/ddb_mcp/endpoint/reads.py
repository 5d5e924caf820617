"""GetItem, Query and Scan."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ddb_mcp.core.conditions import StepCounter
from ddb_mcp.core.indexes import Index
from ddb_mcp.core.items import Item, measure_item, select_attributes
from ddb_mcp.core.keys import Key
from ddb_mcp.core.paths import Path
from ddb_mcp.core.text import count_marks
from ddb_mcp.endpoint.bodies import Encoded
from ddb_mcp.endpoint.errors import EndpointError, KeySchemaError, make_validation_error, require_valid
from ddb_mcp.endpoint.expressions.nodes import ConditionNode
from ddb_mcp.endpoint.expressions.parser import ExpressionReader
from ddb_mcp.endpoint.key_conditions import KeyCondition, parse_key_condition
from ddb_mcp.endpoint.requests import EndpointRequest, Paths, count_read_units, encode_projected, read_get
from ddb_mcp.endpoint.values import INVALID, KEYS, MISMATCH, TABLE, check_key_text, encode_item, read_values
from ddb_mcp.stores.local.statements import get_segment
from ddb_mcp.stores.local.table import Documents, LocalTable, Rows
from ddb_mcp.stores.workers import offload

DYNAMODB_PAGE_BYTES = 2**20
# Not a limit of DynamoDB's. A page holds the worker thread while it is read, so others wait for all of it.
_PAGE_MEMBERS_MAX = 100_000

_INVALID_START = "The provided starting key is invalid"


async def get_item(call: EndpointRequest) -> dict[str, Any]:
    key, paths = await offload(partial(read_get, call.request), call.request)
    name, table = await call.find_table(call.request["TableName"], [key])
    size, item = await read_and_encode(table, key, paths)
    answer = {} if item is None else {"Item": item}
    return {**answer, **_consumed(call, name, TABLE, lambda: size)}


async def read_and_encode(table: LocalTable, key: Key, paths: Paths) -> tuple[int, Encoded | None]:
    """Read an item. Return its size and its encoded projection."""

    def take(documents: Documents) -> tuple[int, Encoded | None]:
        for document in documents:
            item = documents.item(document)
            return measure_item(item), encode_projected(item, paths)
        return 0, None

    return await table.read(Rows(key.pk, bounds=(("=", key.sk.encode()),)), take)


def _consumed(call: EndpointRequest, table: str, index: Index, size: Callable[[], int]) -> dict[str, Any]:
    consistent = bool(call.request.get("ConsistentRead"))
    consumed = call.consumed(table, lambda: count_read_units(size(), consistent=consistent))
    if index is not TABLE and "Table" in (capacity := consumed.get("ConsumedCapacity", {})):
        kind = "LocalSecondaryIndexes" if index.local else "GlobalSecondaryIndexes"
        capacity |= {"Table": {"CapacityUnits": 0.0}, kind: {index.name: capacity["Table"]}}
    return consumed


@dataclass
class _PageBuilder:
    """Builds a page, before the filter: at most `limit` items, 1 MB and `_PAGE_MEMBERS_MAX` members.

    Attributes:
        keys: the key attributes in `last`.
        projected: the attributes visible to the filter and the client; None for all.
    """

    filter: ConditionNode | None
    filter_names: list[str | int]
    paths: tuple[Path, ...] | None
    limit: int | None
    counts: bool
    keys: tuple[str, ...] = KEYS
    projected: tuple[str, ...] | None = None
    items: list[Encoded] = field(default_factory=list)
    matched: int = 0
    scanned: int = 0
    size: int = 0
    unmeasured: list[Item] = field(default_factory=list)
    last: Item | None = None

    def fill(self, documents: Documents) -> None:
        """Add items until the page is full. Then `last` is where the next page starts."""
        self.items, self.matched, self.scanned, self.size, self.last = [], 0, 0, 0, None
        self.unmeasured, size_at_most, members = [], 0, 0
        for document in documents:
            item = select_attributes(documents.item(document), self.projected)
            self.scanned += 1
            members += count_marks(document)
            self.unmeasured.append(item)
            size_at_most += len(document) if document.isascii() else 4 * len(document)
            # The size of an item is less than the length of its text, but takes longer to compute.
            if size_at_most >= DYNAMODB_PAGE_BYTES:
                size_at_most = self.measured()
            if self.filter is None or self.filter.holds(item, StepCounter(documents.check)):
                self.matched += 1
                if not self.counts:
                    self.items.append(encode_projected(item, self.paths))
            if self.scanned == self.limit or size_at_most >= DYNAMODB_PAGE_BYTES or members >= _PAGE_MEMBERS_MAX:
                self.last = {name: item[name] for name in self.keys}
                return

    def measured(self) -> int:
        """Return the size of all items read."""
        self.size += sum(map(measure_item, self.unmeasured))
        self.unmeasured = []
        return self.size

    def answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = {"Count": self.matched, "ScannedCount": self.scanned}
        if not self.counts:
            answer["Items"] = self.items
        if self.last is not None:
            answer["LastEvaluatedKey"] = encode_item(self.last)
        return answer


async def query(call: EndpointRequest) -> dict[str, Any]:
    request = call.request
    start, keys, page = await offload(partial(_read_query, request), request)
    name, table, index = await _find_index(call)
    start = _check_start(start, index)
    pk, bounds = keys.resolve(index)
    # Only a string can have the prefix. The error names the index, as in IAM.
    partition = Key(pk if index.pk.type == "S" else "", "")
    resource = name if index is TABLE else f"{name}/index/{index.name}"
    call.check_access(call.operation, resource, [partition], writes=False)
    if start is not None:
        is_inside = index.pk.get_text(start) == pk
        require_valid(is_inside, "The provided starting key is outside query boundaries based on provided conditions")
        matches = keys.condition.holds(start, StepCounter())
        require_valid(matches, "The provided starting key does not match the range key predicate")
    for key in index.keys:
        require_valid(
            key.name not in page.filter_names,
            f"Filter Expression can only contain non-primary key attributes: Primary key attribute: {key.name}",
        )
    _limit_to_projection(page, call, index)
    descending = request.get("ScanIndexForward") is False
    rows = _make_rows(index, start)._replace(pk=pk, bounds=bounds, descending=descending)
    return await _listing(call, name, table, rows, page)


def _read_query(request: Mapping[str, Any]) -> tuple[Item | None, KeyCondition, _PageBuilder]:
    """Parse the start, the key condition and the page of a query. Raises EndpointError or InvalidArgument."""
    reader = ExpressionReader(request, "FilterExpression", "KeyConditionExpression", "ProjectionExpression")
    start = _read_start(request)
    condition = reader.read_condition("KeyConditionExpression")
    if condition is None:
        raise make_validation_error(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."
        )
    page = _read_page(request, reader)
    return start, parse_key_condition(condition), page


async def scan(call: EndpointRequest) -> dict[str, Any]:
    start, segment, page = await offload(partial(_read_scan, call.request), call.request)
    name, table, index = await _find_index(call)
    start = _check_start(start, index)
    _limit_to_projection(page, call, index)
    if start is not None and get_segment(start["pk"]["S"].encode(), segment[1]) != segment[0]:
        raise make_validation_error(f"{_INVALID_START}: it is not in the provided Segment of TotalSegments")
    return await _listing(call, name, table, _make_rows(index, start)._replace(segment=segment), page)


def _read_scan(request: Mapping[str, Any]) -> tuple[Item | None, tuple[int, int], _PageBuilder]:
    """Parse the start, the segment and the page of a scan. Raises EndpointError or InvalidArgument."""
    reader = ExpressionReader(request, "FilterExpression", "ProjectionExpression")
    return _read_start(request), _read_segment(request), _read_page(request, reader)


async def _listing(
    call: EndpointRequest, name: str, table: LocalTable, rows: Rows, page: _PageBuilder
) -> dict[str, Any]:
    await table.read(rows, page.fill)
    index = rows.secondary_index or TABLE
    return await offload(lambda: {**page.answer(), **_consumed(call, name, index, page.measured)}, page.unmeasured)


def _read_page(request: Mapping[str, Any], reader: ExpressionReader) -> _PageBuilder:
    filter_, names = reader.read_condition("FilterExpression"), reader.named
    paths = reader.read_projection()
    reader.check_all_used()
    by_default = "ALL_PROJECTED_ATTRIBUTES" if "IndexName" in request else "ALL_ATTRIBUTES"
    select = request.get("Select") or ("SPECIFIC_ATTRIBUTES" if paths is not None else by_default)
    has_index = select != "ALL_PROJECTED_ATTRIBUTES" or "IndexName" in request
    require_valid(has_index, f"{INVALID}{select} can be used only when Querying using an IndexName")
    if paths is not None and select != "SPECIFIC_ATTRIBUTES":
        what = "only the Count" if select == "COUNT" else select
        raise make_validation_error(f"Cannot specify the ProjectionExpression when choosing to get {what}")
    if paths is None and select == "SPECIFIC_ATTRIBUTES":
        raise make_validation_error("Must specify the ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES")
    return _PageBuilder(filter_, names, paths, request.get("Limit"), select == "COUNT")


async def _find_index(call: EndpointRequest) -> tuple[str, LocalTable, Index]:
    """Return the table's name, the table and the index, `TABLE` without IndexName. Raises EndpointError."""
    name, table = await call.find_table(call.request["TableName"])
    wanted = call.request.get("IndexName")
    if wanted is None:
        return name, table, TABLE
    index = next((index for index in await table.get_indexes() if index.name == wanted), None)
    if index is None:
        raise make_validation_error(f"The table does not have the specified index: {wanted}")
    is_consistent = index.local or not call.request.get("ConsistentRead")
    require_valid(is_consistent, "Consistent reads are not supported on global secondary indexes")
    return name, table, index


def _limit_to_projection(page: _PageBuilder, call: EndpointRequest, index: Index) -> None:
    """Limit a page to the attributes that an index projects. Raises EndpointError if the request needs others.

    On a local index, other attributes are fetched from the table.
    """
    page.keys = tuple(dict.fromkeys((*KEYS, *(key.name for key in index.keys))))
    if (projected := index.projected) is None:
        return
    absent = sorted({str(name) for name in page.filter_names} - set(projected))
    require_valid(
        not absent or call.operation != "Query",
        f"{INVALID}Secondary index {index.name} does not project one or more filter attributes: [{', '.join(absent)}]",
    )
    absent = [str(path[0]) for path in page.paths or () if path[0] not in projected]
    wants_all = call.request.get("Select") == "ALL_ATTRIBUTES"
    require_valid(
        index.local or not wants_all,
        f"{INVALID}Select type ALL_ATTRIBUTES is not supported for global secondary index {index.name} because its "
        "projection type is not ALL",
    )
    require_valid(
        index.local or not absent,
        f"{INVALID}Global secondary index {index.name} does not project [{', '.join(absent)}]",
    )
    page.projected = None if wants_all or absent else projected


def _read_start(request: Mapping[str, Any]) -> Item | None:
    """Parse ExclusiveStartKey. Return None if absent. Raises EndpointError."""
    given = request.get("ExclusiveStartKey")
    try:
        return None if given is None else read_values(given)
    except EndpointError as error:
        raise make_validation_error(f"{_INVALID_START}: {error.message}") from None


def _check_start(start: Item | None, index: Index) -> Item | None:
    """Return the start if it is a key of the index or `TABLE`. Raises EndpointError."""
    if start is None:
        return None
    if start.keys() != {*KEYS, *(key.name for key in index.keys)}:
        raise KeySchemaError(_INVALID_START)
    for key in (*TABLE.keys, *index.keys):
        if key.type not in start[key.name]:
            raise KeySchemaError(f"{_INVALID_START}: {MISMATCH}")
        check_key_text(index if key in index.keys else TABLE, key, start[key.name][key.type])
    return start


def _make_rows(index: Index, start: Item | None) -> Rows:
    """Return the rows of an index or `TABLE` after the start."""
    rows = Rows(secondary_index=None if index is TABLE else index)
    if start is None:
        return rows
    partition, sort_key = (key.get_sort_bytes(start) or b"" for key in (index.keys[0], index.keys[-1]))
    return rows._replace(after=Key.of(start), after_partition=partition, after_sort_key=sort_key)


def _read_segment(request: Mapping[str, Any]) -> tuple[int, int]:
    segment, total = request.get("Segment"), request.get("TotalSegments")
    absent = "parameter is required but was not present in the request when"
    require_valid(segment is None or total is not None, f"The TotalSegments {absent} Segment parameter is present")
    require_valid(segment is not None or total is None, f"The Segment {absent} parameter TotalSegments is present")
    if segment is None or total is None:
        return 0, 1
    require_valid(
        segment < total,
        "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
        f"Segment: {segment} is not less than TotalSegments: {total}",
    )
    return segment, total
