"""Secondary indexes: their definitions, their key values, and who may write and read through them.

Global and local indexes are the same thing here: a name, a partition key attribute, perhaps a sort key attribute, and a
projection. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/SecondaryIndexes.html
"""

import base64
import binascii
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Self, cast

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import KeyRange, is_in_range
from ddb_mcp.core.errors import InvalidArgument, PrefixViolation
from ddb_mcp.core.items import TYPE_NAMES, AttributeValue, Item, from_json
from ddb_mcp.core.keys import Prefix, check_text
from ddb_mcp.core.text import quote_start

KeyType = Literal["S", "N", "B"]
INDEXES_MAX = 20
LOCAL_INDEXES_MAX = 5
_NAME = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
_DEFINITION = re.compile(r"([^=]+)=([^,:]+)(?::([^,:]+))?(?:,([^,:]+)(?::([^,:]+))?)?")
_TABLE_KEYS = ("pk", "sk")


class IndexKey(NamedTuple):
    """A key attribute of an index, and its type."""

    name: str
    type: KeyType = "S"

    def get_text(self, item: Item) -> str | None:
        """Return the content of the attribute, None if the item lacks it or it has another type or is empty."""
        return item.get(self.name, {}).get(self.type) or None

    def get_sort_bytes(self, item: Item) -> bytes | None:
        """Return the bytes by which the item is ordered, None if it is not in the index."""
        text = self.get_text(item)
        return None if text is None else self.encode(text)

    def encode(self, text: str) -> bytes:
        """Return the bytes by which an item with this content is ordered."""
        return encode_sort_bytes(self.type, text)


@dataclass(frozen=True)
class Index:
    """A secondary index.

    Attributes:
        sk: None if items with the same partition key have no order of their own.
        projection: `ALL`, `KEYS_ONLY`, or the names of the attributes besides the keys.
        local: whether DynamoDB calls it a local index, which has the table's partition key.
        more_keys: attributes of a key of several attributes; the index cannot be queried here.
    """

    name: str
    pk: IndexKey
    sk: IndexKey | None = None
    projection: Literal["ALL", "KEYS_ONLY"] | tuple[str, ...] = "ALL"
    local: bool = False
    more_keys: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[IndexKey, ...]:
        """Return its key attributes, one or two."""
        return (self.pk,) if self.sk is None else (self.pk, self.sk)

    @property
    def key_names(self) -> tuple[str, ...]:
        """Return the names of its key attributes."""
        return tuple(key.name for key in self.keys)

    @property
    def projected(self) -> tuple[str, ...] | None:
        """Return the names of all attributes that a query of the index returns; None for all."""
        if self.projection == "ALL":
            return None
        extra = self.projection if isinstance(self.projection, tuple) else ()
        return (*_TABLE_KEYS, *self.key_names, *extra)

    def contains(self, item: Item) -> bool:
        """Return whether the item is in the index: it has all key attributes, with the right types."""
        return all(key.get_text(item) is not None for key in self.keys)

    def selects(self, item: Item, pk: str, keys: KeyRange) -> bool:
        """Return whether a query for this partition and this range of sort keys returns the item."""
        if self.pk.get_sort_bytes(item) != self.pk.encode(pk):
            return False
        if self.sk is None:
            return True
        found = self.sk.get_sort_bytes(item)
        if found is None:
            return False
        return is_in_range(found, *(None if text is None else self.sk.encode(text) for text in keys))

    def to_json(self) -> dict[str, Any]:
        """Return the index as `info` shows it."""
        shown: dict[str, Any] = {"name": self.name, "pk": self.pk.name}
        if self.sk is not None:
            shown["sk"] = self.sk.name
        if types := {key.name: key.type for key in self.keys if key.type != "S"}:
            shown["types"] = types
        shown["projection"] = list(self.projection) if isinstance(self.projection, tuple) else self.projection
        return shown

    @classmethod
    def from_json(cls, shown: Mapping[str, Any]) -> Self:
        """Return the index that `to_json` showed. Raises KeyError, TypeError or ValueError for another form."""
        types = shown.get("types", {})
        projection = shown["projection"]
        if not isinstance(projection, str):
            projection = tuple(map(str, projection))
        sk = IndexKey(shown["sk"], types.get(shown["sk"], "S")) if "sk" in shown else None
        pk = IndexKey(shown["pk"], types.get(shown["pk"], "S"))
        return cls(str(shown["name"]), pk, sk, projection, local=bool(shown.get("local")))


def list_key_conflicts(declared: Iterable[Index], known: Iterable[Index]) -> list[str]:
    """Return a warning for each declared index of which the table has one with other keys."""
    keys = {index.name: index.keys for index in known}
    return [
        f"The index {index.name} has other keys than DDB_MCP_INDEXES says; it was left as it is."
        for index in declared
        if keys.get(index.name, index.keys) != index.keys
    ]


@dataclass(frozen=True)
class IndexRules:
    """A table's indexes as one deployment may use them.

    If the partition key of an index is a string attribute of its own, its values carry the deployment's prefix, like
    `pk`: else one deployment's app could read an item that another has written. `DDB_MCP_SHARED_INDEXES` lifts this.

    Attributes:
        shared: names of indexes that the deployment has to itself; `*` for all.
    """

    indexes: Sequence[Index]
    prefix: Prefix
    shared: Collection[str] = ()

    def is_isolated(self, index: Index) -> bool:
        """Return whether each partition of the index belongs to one deployment."""
        if index.pk.name in _TABLE_KEYS:
            return index.pk.name == "pk"
        return index.pk.type == "S" and "*" not in self.shared and index.name not in self.shared

    def check_item(self, attributes: Mapping[str, AttributeValue], where: str) -> None:
        """Check the values of index keys among attributes that are to be written.

        Raises:
            InvalidArgument: a value has another type than its index wants, is empty or too long.
            PrefixViolation: a value is outside the deployment.
        """
        for index in self.indexes:
            for key in index.keys:
                if key.name in attributes and key.name not in _TABLE_KEYS:
                    self._check_value(index, key, attributes[key.name], f"{where}.{key.name}")

    def check_additions(self, additions: Mapping[str, AttributeValue]) -> None:
        """Check what `add` makes of attributes: numbers and sets. Raises InvalidArgument."""
        for index in self.indexes:
            for key in index.keys:
                if key.name in additions and (key.type != "N" or "N" not in additions[key.name]):
                    raise _make_type_error(index, key, f"add.{key.name}")

    def _check_value(self, index: Index, key: IndexKey, value: AttributeValue, where: str) -> None:
        text = value.get(key.type)
        if text is None:
            raise _make_type_error(index, key, where)
        is_partition = key is index.pk
        check_key_size(key.type, text, f"{where} (a key of the index {index.name})", is_partition=is_partition)
        if is_partition and self.is_isolated(index):
            try:
                self.prefix.check_pk(text, where)
            except PrefixViolation as violation:
                own = self.prefix.joined
                message = f"{where} is the partition key of the index {index.name}: it must start with {own!r}."
                raise PrefixViolation(message, next=violation.next) from None


def _make_type_error(index: Index, key: IndexKey, where: str) -> InvalidArgument:
    return InvalidArgument(
        f"{where} must be a {TYPE_NAMES[key.type]}, because it is a key of the index {index.name}.",
        next=f"Write a {TYPE_NAMES[key.type]}, or omit {key.name} to keep the item out of the index.",
    )


def check_key_size(kind: KeyType, text: str, where: str, *, is_partition: bool) -> None:
    """Raise InvalidArgument if a key value is empty or longer than DynamoDB allows."""
    most = limits.PK_MAX_BYTES if is_partition else limits.SK_MAX_BYTES
    if kind == "S":
        check_text(where, text, most)
    elif not text:
        raise InvalidArgument(f"{where} is empty; DynamoDB keys have at least one byte.")
    elif kind == "B" and (size := len(base64.b64decode(text))) > most:
        raise InvalidArgument(f"{where} has {size} bytes; the limit is {most}.")


def parse_key_text(key: IndexKey, text: str, parameter: str, *, is_partition: bool) -> str:
    """Return the canonical text of a key value that came as text. Raises InvalidArgument if it is not of its type."""
    if key.type != "S":
        try:
            text = from_json({key.type: text}, parameter)[key.type]
        except (InvalidArgument, binascii.Error):
            wanted = "a number as text" if key.type == "N" else "base64"
            raise InvalidArgument(
                f"{parameter} must be {wanted}, because {key.name} is a {TYPE_NAMES[key.type]}; it is "
                f"{quote_start(text)}."
            ) from None
    check_key_size(key.type, text, parameter, is_partition=is_partition)
    return text


def parse_key_range(key: IndexKey | None, sk_prefix: str | None, sk_from: str | None, sk_to: str | None) -> KeyRange:
    """Parse the range of the sort key of the table or of an index. Raises InvalidArgument.

    Args:
        key: None if the index has no sort key.
    """
    given = {"sk_prefix": sk_prefix, "sk_from": sk_from, "sk_to": sk_to}
    if key is None:
        if any(text is not None for text in given.values()):
            raise InvalidArgument("The index has no sort key, so sk_prefix, sk_from and sk_to do not apply.")
        return KeyRange()
    if sk_prefix is not None and (sk_from is not None or sk_to is not None):
        raise InvalidArgument("sk_prefix cannot be combined with sk_from or sk_to.")
    if sk_prefix is not None and key.type == "N":
        raise InvalidArgument(
            f"sk_prefix does not apply to {key.name}, which is a number.", next="Use sk_from and sk_to."
        )
    texts = {
        name: None if text is None else parse_key_text(key, text, name, is_partition=False)
        for name, text in given.items()
    }
    low, high = (None if text is None else key.encode(text) for text in (texts["sk_from"], texts["sk_to"]))
    if low is not None and high is not None and low > high:
        raise InvalidArgument("sk_from sorts after sk_to; swap them.")
    return KeyRange(texts["sk_prefix"], texts["sk_from"], texts["sk_to"])


def encode_sort_bytes(kind: str, text: str) -> bytes:
    """Encode a key value so that the order of bytes is DynamoDB's: UTF-8 for strings, numeric for numbers.

    A positive number is its exponent and its digits. A negative one has the complement of both, and a last byte that
    puts -1.2 after -1.23.
    """
    if kind == "S":
        return text.encode(errors="surrogatepass")
    if kind == "B":
        return base64.b64decode(text)
    number = Decimal(text).as_tuple()
    digits = bytes(number.digits).rstrip(b"\0")
    if not digits:
        return b"\x01"
    exponent = int(number.exponent) + len(number.digits) + 1000
    if not number.sign:
        return b"\x02" + exponent.to_bytes(2) + digits
    return b"\x00" + (2**16 - 1 - exponent).to_bytes(2) + bytes(9 - digit for digit in digits) + b"\xff"


def parse_indexes(text: str) -> tuple[Index, ...]:
    """Parse `NAME=PK[:TYPE][,SK[:TYPE]]; …`, the form of DDB_MCP_INDEXES. Raises ValueError with the reason."""
    indexes: dict[str, Index] = {}
    types: dict[str, str] = dict.fromkeys(_TABLE_KEYS, "S")
    for definition in filter(None, map(str.strip, text.split(";"))):
        parts = _DEFINITION.fullmatch(definition)
        if parts is None:
            raise ValueError(f"{definition!r} is not of the form NAME=PK[:TYPE][,SK[:TYPE]]")
        name, *given = [(part or "").strip() for part in parts.groups()]
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not an index name: 3 to 255 letters, digits, `_`, `.` or `-`")
        if name in indexes:
            raise ValueError(f"the index {name} is declared twice")
        pairs = [(given[0], given[1]), (given[2], given[3])][: 2 if given[2] else 1]
        keys = [IndexKey(attribute, cast("KeyType", kind or "S")) for attribute, kind in pairs]
        for key in keys:
            if key.type not in ("S", "N", "B"):
                raise ValueError(f"{key.type!r} is not a key type; use S, N or B")
            if types.setdefault(key.name, key.type) != key.type:
                raise ValueError(f"{key.name} is declared with two types, {types[key.name]} and {key.type}")
        if keys[0].name == keys[-1].name and len(keys) > 1:
            raise ValueError(f"the index {name} uses {keys[0].name} for both keys")
        indexes[name] = Index(name, keys[0], keys[1] if len(keys) > 1 else None)
    if len(indexes) > INDEXES_MAX:
        raise ValueError(f"{len(indexes)} indexes are declared; a table has at most {INDEXES_MAX}")
    return tuple(indexes.values())
