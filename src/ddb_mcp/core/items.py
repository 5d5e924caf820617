"""Plain JSON <-> DynamoDB attribute values, exact both ways, and DynamoDB's rules for what an item may be.

An attribute value is held as DynamoDB JSON throughout: `{"S": "x"}`, `{"N": "12"}`, `{"B": "<base64>"}` and so on.
Plain JSON represents it wherever that is exact. A plain object with exactly one member that is named `N`, `B`, `SS`,
`NS`, `BS` or `M` is a typed value, in DynamoDB JSON; a stored map that looks like one is shown as `{"M": {…}}`.

Rules: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
Sizes: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation
from functools import partial
from typing import Any, NoReturn, cast

from ddb_mcp.core import limits
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.text import build_object, quote_start

AttributeValue = dict[str, Any]
Item = dict[str, AttributeValue]

TYPE_NAMES = {
    "S": "string",
    "N": "number",
    "B": "binary",
    "BOOL": "boolean",
    "NULL": "null",
    "L": "list",
    "M": "map",
    "SS": "string set",
    "NS": "number set",
    "BS": "binary set",
}
TYPES = frozenset(TYPE_NAMES)
TYPED_IN_PLAIN_JSON = frozenset({"N", "B", "SS", "NS", "BS", "M"})

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_PLAIN_NUMBER_LENGTH = 40
# Longer number texts are refused before their digits are examined.
_NUMBERS = Context(prec=limits.NUMBER_MAX_CHARACTERS, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact, InvalidOperation])


def parse_item(value: Any, where: str = "item") -> Item:
    """Parse an item as a tool takes it: a JSON object, one in a JSON string, or DynamoDB JSON (`pk` is `{"S": …}`).

    Raises:
        InvalidArgument: it has another form, a duplicate member, or a value that DynamoDB cannot store. Keys are
            not checked here beyond being strings, see `keys`.
    """
    if isinstance(value, str):
        value = parse_json(value, where)
    if not isinstance(value, dict):
        raise InvalidArgument(f"{where} must be a JSON object, not {_describe_kind(value)}.")
    for name in ("pk", "sk"):
        if name not in value:
            raise InvalidArgument(f"{where} has no {name!r}; every item needs string attributes pk and sk.")
    pk = value["pk"]
    convert = from_dynamodb_json if isinstance(pk, dict) and pk.keys() == {"S"} else from_json
    item = convert_attributes(value, convert, where)
    for name in ("pk", "sk"):
        if "S" not in item[name]:
            raise InvalidArgument(f"{where}.{name} must be a string, not {_describe_kind(value[name])}.")
    if (size := measure_item(item)) > limits.ITEM_MAX_BYTES:
        raise InvalidArgument(
            f"{where} has {size} bytes by DynamoDB's size rules; the limit is {limits.ITEM_MAX_BYTES}.",
            next="Split it over several sort keys, or keep large content elsewhere and store a reference.",
        )
    return item


def parse_json(text: str, where: str, *, exact: bool = True) -> Any:
    """Parse JSON with exact numbers: Decimals.

    Args:
        text: the JSON.
        where: how an error names it.
        exact: False if a host may have rounded integers before they became text: these are ints then, so that
            large ones can be refused.

    Raises:
        InvalidArgument: it is not JSON, or has an object with a member twice.
    """

    def duplicate(name: str) -> NoReturn:
        raise InvalidArgument(f"{where} has the member {name} twice; only one could be stored.")

    def constant(name: str) -> NoReturn:
        raise InvalidArgument(f"{where} contains {name}, which is not JSON and which DynamoDB cannot store.")

    def number(digits: str, kind: Callable[[str], Any]) -> Any:
        if len(digits) > limits.NUMBER_MAX_CHARACTERS:
            raise InvalidArgument(f"{where} contains a number of {len(digits)} characters.")
        return kind(digits)

    integer, decimal = (partial(number, kind=kind) for kind in ((Decimal, Decimal) if exact else (int, Decimal)))
    hooks: dict[str, Any] = {"parse_int": integer, "parse_float": decimal, "parse_constant": constant}
    try:
        return json.loads(text, **hooks, object_pairs_hook=partial(build_object, on_duplicate=duplicate))
    except RecursionError:
        raise InvalidArgument(f"{where} is nested far deeper than {limits.MAX_DEPTH} levels.") from None
    except InvalidOperation:
        raise InvalidArgument(f"{where} contains a number outside DynamoDB's range.") from None
    except ValueError as error:
        at = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidArgument(f"{where} is not valid JSON{at}.", next="Send a JSON object.") from None


def convert_attributes(
    members: Mapping[str, Any], convert: Callable[[Any, str, int], AttributeValue], where: str, depth: int = 0
) -> Item:
    """Convert each member to an attribute value. Raises InvalidArgument."""
    attributes = {}
    for name, value in members.items():
        if not name and depth == 0:
            raise InvalidArgument(f"{where} has an attribute with an empty name.")
        check_unicode(name, f"a name in {where}")
        attributes[name] = convert(value, f"{where}.{quote_start(name)}", depth)
    return attributes


def from_json(value: Any, where: str, depth: int = 0) -> AttributeValue:
    """Convert plain JSON to the attribute value that it represents.

    Args:
        value: as `json.loads` gives it, or with Decimals for numbers if the text is available (`parse_json`).
        where: how an error names the value.
        depth: how many lists and maps are round it.

    Raises:
        InvalidArgument: DynamoDB could not hold it, or plain JSON may already have rounded it.
    """
    _check_depth(depth, where)
    match value:
        case str():
            return {"S": check_unicode(value, where)}
        case bool():
            return {"BOOL": value}
        case None:
            return {"NULL": True}
        case int() | float():
            return {"N": _check_plain_number(value, where)}
        case Decimal():
            return {"N": canonicalize_number(value, where)}
        case list():
            return {"L": [from_json(entry, f"{where}[{at}]", depth + 1) for at, entry in enumerate(value)]}
        case dict() if is_typed(value):
            return from_dynamodb_json(value, where, depth)
        case dict():
            return {"M": convert_attributes(value, from_json, where, depth + 1)}
    raise InvalidArgument(f"{where} has a type that JSON does not have.")


def is_typed(value: Mapping[str, Any]) -> bool:
    """Return whether a plain JSON object is a typed value rather than a map."""
    return len(value) == 1 and next(iter(value)) in TYPED_IN_PLAIN_JSON


def from_dynamodb_json(value: Any, where: str, depth: int = 0) -> AttributeValue:
    """Check a typed value and return its canonical form. Arguments and errors as for `from_json`."""
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in TYPES:
        raise InvalidArgument(
            f'{where} must be one DynamoDB JSON value such as {{"S": "text"}} or {{"N": "1"}}, '
            f"not {_describe_kind(value)}.",
            next="In DynamoDB JSON every value is typed. Type this one, or send the whole item as plain JSON.",
        )
    _check_depth(depth, where)
    ((kind, content),) = value.items()
    match kind, content:
        case "S", str():
            return {"S": check_unicode(content, where)}
        case "N", str():
            return {"N": canonicalize_number(content, where)}
        case "B", str():
            return {"B": _canonicalize_binary(content, where)}
        case "BOOL", bool():
            return {"BOOL": content}
        case "NULL", True:
            return {"NULL": True}
        case (("SS" | "NS" | "BS"), list()):
            return {kind: _parse_set(kind, content, where)}
        case "L", list():
            entries = enumerate(content)
            return {"L": [from_dynamodb_json(entry, f"{where}[{at}]", depth + 1) for at, entry in entries]}
        case "M", dict():
            return {"M": convert_attributes(content, from_dynamodb_json, where, depth + 1)}
    raise InvalidArgument(
        f'{where} is {{"{kind}": …}} with {_describe_kind(content)} in it, which is not a {TYPE_NAMES[kind]} in '
        "DynamoDB JSON.",
        next="DynamoDB JSON has numbers as strings of digits, binary in base64, and sets as lists. "
        f'If a map with the one member "{kind}" is meant, write {{"M": {{"{kind}": <typed value>}}}}.',
    )


def to_json(value: AttributeValue) -> Any:
    """Convert an attribute value to plain JSON, maps in alphabetical order; the inverse of `from_json`.

    Stores return maps in any order; equal values have equal JSON.
    """
    ((kind, content),) = value.items()
    match kind:
        case "S" | "BOOL":
            return content
        case "NULL":
            return None
        case "N":
            return _number_to_json(content)
        case "L":
            return [to_json(entry) for entry in content]
        case "M":
            if is_typed(content):
                return map_values(value, "N", canonicalize_number)
            return {name: to_json(content[name]) for name in sorted(content)}
    return map_values(value, "N", canonicalize_number)


def item_to_json(item: Mapping[str, AttributeValue]) -> dict[str, Any]:
    """Convert an item to plain JSON, its key first and its other attributes by name, so that equal items read alike."""
    names = [name for name in ("pk", "sk") if name in item]
    names += (name for name in sorted(item) if name not in ("pk", "sk"))
    return {name: to_json(item[name]) for name in names}


def map_values(value: AttributeValue, kind: str, convert: Callable[[str], Any]) -> AttributeValue:
    """Apply `convert` to what a value holds of one type, at every depth and in sets too.

    Args:
        kind: `S`, `N` or `B`.
        convert: takes the text of one value of this type.
    """
    ((own_kind, content),) = value.items()
    if own_kind == kind:
        return {kind: convert(content)}
    if own_kind == kind + "S":
        return {own_kind: [convert(member) for member in content]}
    if own_kind == "L":
        return {"L": [map_values(entry, kind, convert) for entry in content]}
    if own_kind == "M":
        return {"M": {name: map_values(content[name], kind, convert) for name in sorted(content)}}
    return value


def canonicalize_number(number: str | int | Decimal, where: str = "number") -> str:
    """Return a number as canonical text: no superfluous zeros, plain digits if they are short, else `1.5E+40`.

    Raises:
        InvalidArgument: not a number, more than 38 significant digits, or outside ±1E-130 … ±9.99E+125.
    """
    if isinstance(number, str):
        if len(number) > limits.NUMBER_MAX_CHARACTERS:
            raise InvalidArgument(f"{where} has {len(number)} characters, too many for a number.")
        if len(number) <= 15 and number.isascii() and number.isdigit():
            return number.lstrip("0") or "0"
        if not _NUMBER.fullmatch(number):
            raise InvalidArgument(f"{where} is not a number in decimal notation.")
    try:
        decimal = _NUMBERS.normalize(Decimal(number))
    except InvalidOperation:
        raise InvalidArgument(f"{where} is outside DynamoDB's number range.") from None
    except Inexact:
        raise InvalidArgument(f"{where} has over {limits.NUMBER_MAX_CHARACTERS} digits.") from None
    if not decimal.is_finite():
        raise InvalidArgument(f"{where} is {number}, which DynamoDB cannot store.")
    if not decimal:
        return "0"
    if (digits := len(decimal.as_tuple().digits)) > limits.MAX_DIGITS:
        raise InvalidArgument(
            f"{where} has {digits} significant digits; DynamoDB keeps {limits.MAX_DIGITS}.",
            next="Store it as a string if every digit matters.",
        )
    if not -130 <= decimal.adjusted() <= 125:
        raise InvalidArgument(f"{where} is outside DynamoDB's number range of ±1E-130 to ±9.99E+125.")
    plain = format(decimal, "f")
    return plain if len(plain.lstrip("-")) <= _PLAIN_NUMBER_LENGTH else format(decimal, "E")


def _check_plain_number(number: float, where: str) -> str:
    exact = Decimal(repr(number) if isinstance(number, float) else number)
    text = canonicalize_number(exact, where)
    if abs(number) > limits.EXACT_INTEGER:
        raise InvalidArgument(
            f"{where} is beyond 2^53 as plain JSON, where hosts may already have rounded it.",
            next='Write the original digits as a typed number: {"N": "12345678901234567890"}.',
        )
    return text


def _number_to_json(text: str) -> Any:
    if len(text) <= 15 and text.isascii() and text.isdigit():
        return int(text)
    exact = Decimal(text)
    if exact == exact.to_integral_value():
        return int(exact) if abs(exact) <= limits.EXACT_INTEGER else {"N": canonicalize_number(exact)}
    nearest = float(exact)
    return nearest if Decimal(repr(nearest)) == exact else {"N": canonicalize_number(exact)}


def _canonicalize_binary(text: str, where: str) -> str:
    try:
        canonical = base64.b64encode(base64.b64decode(text, validate=True)).decode()
    except ValueError:
        canonical = None
    if canonical is None or len(canonical) != len(text):  # Python overlooks needless padding, as in `YWJj=`
        raise InvalidArgument(f"{where} is not valid base64.")
    return canonical


def _parse_set(kind: str, content: list[Any], where: str) -> list[str]:
    if not content:
        raise InvalidArgument(f"{where} is an empty set, which DynamoDB does not have; leave the attribute out.")
    if not all(isinstance(entry, str) for entry in content):
        raise InvalidArgument(f'{where}: the members of {{"{kind}": …}} must all be strings.')
    check = _SET_MEMBER[kind]
    members = [check(entry, f"{where}[{at}]") for at, entry in enumerate(content)]
    if len(set(members)) < len(members):
        raise InvalidArgument(f"{where} has the same member twice; a set holds each value once.")
    return members


def check_unicode(text: str, where: str) -> str:
    """Return `text` if it can be UTF-8. Raises InvalidArgument."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidArgument(f"{where} contains a lone surrogate, which is not Unicode text.") from None
    return text


_SET_MEMBER: dict[str, Callable[[str, str], str]] = {
    "SS": check_unicode,
    "NS": canonicalize_number,
    "BS": _canonicalize_binary,
}


def _check_depth(depth: int, where: str) -> None:
    # The item is the first level, so 31 lists or maps round a value are the most.
    if depth >= limits.MAX_DEPTH:
        shown = where if len(where) < 80 else where[:80] + "…"
        raise InvalidArgument(f"{shown} is nested deeper than {limits.MAX_DEPTH} levels.")


def _describe_kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float() | Decimal():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
    return "an object"


def measure_item(item: Mapping[str, AttributeValue]) -> int:
    """Return the size of an item in bytes by DynamoDB's rules: names count, and so do 3 bytes a list or map."""
    return sum(_measure_text(name) + measure_value(value) for name, value in item.items())


def exceeds_bytes(value: AttributeValue, most: int) -> bool:
    """Return whether the plain JSON of a value certainly exceeds `most` bytes. Looks at about `most` members."""
    length, waiting = 0, [value]
    while waiting and length <= most:
        ((kind, content),) = waiting.pop().items()
        if kind == "M":
            length += 4 * len(content)  # quotes, colon and comma
            waiting += content.values() if length <= most else ()
        elif kind == "L":
            length += 2 * len(content)
            waiting += content if length <= most else ()
        elif kind not in ("N", "BOOL", "NULL"):  # a number may be shown shorter than it is stored
            length += len(content)
    return length > most


def measure_value(value: AttributeValue) -> int:
    """Return the size of one attribute value in bytes by DynamoDB's rules, without its name."""
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return _measure_text(content)
        case "N":
            return _measure_number(content)
        case "B":
            return _measure_binary(content)
        case "BOOL" | "NULL":
            return 1
        case "L":
            return 3 + sum(1 + measure_value(entry) for entry in content)
        case "M":
            return 3 + len(content) + measure_item(content)
    member_size: Callable[[str], int] = {"SS": _measure_text, "NS": _measure_number, "BS": _measure_binary}[kind]
    return sum(map(member_size, content))


def _measure_text(text: str) -> int:
    # A store may have let in a lone surrogate, and its item must still be shown.
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _measure_number(text: str) -> int:
    # Two digits a byte, paired from the decimal point on, without zeros at the ends; a byte more, and one for a minus.
    if text[0] != "0" and text.isascii() and text.isdigit():
        return (len(text) - 1) // 2 - (len(text) - len(text.rstrip("0"))) // 2 + 2
    number = Decimal(text).normalize(_NUMBERS)
    if not number:
        return 1
    return number.adjusted() // 2 - cast("int", number.as_tuple().exponent) // 2 + 2 + number.is_signed()


def _measure_binary(text: str) -> int:
    return len(text) // 4 * 3 - text[-2:].count("=")


def select_attributes(item: Item, attributes: Iterable[str] | None) -> Item:
    """Return the item with only the named top-level attributes; `pk` and `sk` always come along. None keeps all."""
    if attributes is None:
        return item
    names = {"pk", "sk", *attributes}
    return {name: value for name, value in item.items() if name in names}
