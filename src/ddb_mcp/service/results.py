"""The results of the tools, as types. The published output schemas are made from them."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

PlainItem = dict[str, Any]
Stopped = Literal["limit", "bytes", "read_budget", "timeout", "platform"]


class _Whereabouts(TypedDict):
    """The members that `provision` and `info` have in common."""

    tableName: str
    prefix: str
    region: str
    mode: str
    instructions: str
    ttl: NotRequired[str]
    lambdaFunctions: NotRequired[list[dict[str, Any]]]
    warnings: NotRequired[list[str]]


class ProvisionResult(_Whereabouts):
    created: bool


class InfoResult(_Whereabouts):
    provisioned: bool
    version: str
    readOnly: bool
    limits: dict[str, int]
    features: list[str]


class PartResult(TypedDict):
    """Part of a string or of binary; `of`: characters or bytes of the whole; `to`: where a part that is cut ends."""

    text: NotRequired[str]
    base64: NotRequired[str]
    of: int
    to: NotRequired[int]


class GetResult(TypedDict):
    found: bool
    item: NotRequired[PlainItem]
    parts: NotRequired[dict[str, PartResult]]
    outlined: NotRequired[bool]
    hint: NotRequired[str]


class Failure(TypedDict):
    """A write that was not done: by its position in a batch, or by its key where `where` selected it."""

    index: NotRequired[int]
    pk: NotRequired[str]
    sk: NotRequired[str]
    error: dict[str, Any]


class _Selected(TypedDict):
    """The members of a result of `where`."""

    matched: NotRequired[int]
    failedCount: NotRequired[int]
    keys: NotRequired[list[dict[str, str]]]
    complete: NotRequired[bool]
    cursor: NotRequired[str]
    warnings: NotRequired[list[str]]


class PutResult(_Selected):
    """`pk`, `sk`, `created`, `dropped`, `updated` for one item; `written`, `failed` for several."""

    pk: NotRequired[str]
    sk: NotRequired[str]
    created: NotRequired[bool]
    dropped: NotRequired[PlainItem]
    updated: NotRequired[PlainItem]
    written: NotRequired[int]
    failed: NotRequired[list[Failure]]


class DeleteResult(_Selected):
    """`deleted`, `item` for one key; `deletedCount`, `failed` for several."""

    deleted: NotRequired[bool]
    item: NotRequired[PlainItem]
    outlined: NotRequired[bool]
    deletedCount: NotRequired[int]
    failed: NotRequired[list[Failure]]


class Group(TypedDict):
    """Items of one entity type.

    `attributes`: `{name: {type: count}}`. `numbers`: the least and the greatest of each attribute's numbers.
    `moreAttributes`: how many others there are at least. `largestBytes`: of the largest item, whose key is `example`.
    """

    pk: str
    sk: str
    count: int
    attributes: dict[str, dict[str, int]]
    moreAttributes: NotRequired[int]
    numbers: NotRequired[dict[str, list[Any]]]
    largestBytes: NotRequired[int]
    example: NotRequired[dict[str, str]]


class PageResult(TypedDict):
    """A page of a query or scan. `outlined`: positions in `items` of items that were too long to show."""

    items: NotRequired[list[PlainItem]]
    groups: NotRequired[list[Group]]
    count: int
    complete: bool
    cursor: NotRequired[str]
    stopped: NotRequired[Stopped]
    scanned: int
    capacity: NotRequired[float]
    outlined: NotRequired[list[int]]
    hint: NotRequired[str]
