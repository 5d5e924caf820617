"""JSON of requests and answers, within a bound on the memory that their objects take."""

import json
from typing import Any, NamedTuple

from ddb_mcp.core.text import exceeds_members
from ddb_mcp.endpoint.errors import make_serialization_error, make_validation_error
from ddb_mcp.stores.local.table import MEMBERS_MAX

# Objects and lists of an answer whose members can be `Encoded`.
_ENVELOPE_DEPTH = 4


class Encoded(NamedTuple):
    """JSON text as a part of an answer. Items are encoded where they are read: as objects they take far more memory."""

    text: str


def encode(value: Any) -> Encoded:
    """Return the JSON of a part of an answer."""
    return Encoded(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def encode_answer(answer: dict[str, Any]) -> bytes:
    """Return an answer's body. Reads bound its items, to 16 MB and the one that went beyond it."""
    return _text(answer, _ENVELOPE_DEPTH).encode()


def _text(value: Any, depth: int) -> str:
    if isinstance(value, Encoded):
        return value.text
    if depth and isinstance(value, dict):
        return "{" + ",".join(f"{encode(name).text}:{_text(each, depth - 1)}" for name, each in value.items()) + "}"
    if depth and isinstance(value, list):
        return "[" + ",".join([_text(each, depth - 1) for each in value]) + "]"
    return encode(value).text


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a request's body. Raises EndpointError."""
    try:
        text = body.decode()
        # As for stored items: an item of 400 KB has 410,000 members at most.
        if exceeds_members(text, MEMBERS_MAX):
            raise make_validation_error(
                f"The endpoint of ddb-mcp takes at most {MEMBERS_MAX} members in one request; send several."
            )
        request = json.loads(text or "{}", parse_constant=_refuse_constant)
        if "\\u" in text:
            json.dumps(request, ensure_ascii=False).encode()  # half a character has no UTF-8
    except UnicodeEncodeError:
        raise make_serialization_error("The body has half a surrogate pair, which is no character") from None
    except (ValueError, RecursionError):
        raise make_serialization_error("The body is no JSON in UTF-8") from None
    if not isinstance(request, dict):
        raise make_serialization_error("Unexpected value type in payload")
    return request


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
