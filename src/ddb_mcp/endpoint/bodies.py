"""Parse and encode JSON bodies in bounded memory."""

import json
from typing import Any, NamedTuple

from ddb_mcp.core.text import exceeds_members
from ddb_mcp.endpoint.errors import make_serialization_error, make_validation_error
from ddb_mcp.stores.local.table import MEMBERS_MAX

# How deep in a response `Encoded` parts can be.
_ENVELOPE_DEPTH = 4


class Encoded(NamedTuple):
    """Part of a response as JSON text. Items are encoded as soon as they are read: objects take far more memory."""

    text: str


def encode(value: Any) -> Encoded:
    """Encode a part of a response."""
    return Encoded(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def encode_answer(answer: dict[str, Any]) -> bytes:
    """Encode a response. Reads bound its items to 16 MB and one item more."""
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
    """Parse the JSON object in a request body. Raises EndpointError."""
    try:
        text = body.decode()
        # The limit for stored items too: an item of 400 KB has at most 410,000 members.
        if exceeds_members(text, MEMBERS_MAX):
            raise make_validation_error(
                f"The ddb-mcp endpoint accepts at most {MEMBERS_MAX} members in a request; split the request."
            )
        request = json.loads(text or "{}", parse_constant=_refuse_constant)
        if "\\u" in text:
            json.dumps(request, ensure_ascii=False).encode()  # a lone surrogate has no UTF-8
    except UnicodeEncodeError:
        raise make_serialization_error("The body contains a lone surrogate") from None
    except (ValueError, RecursionError):
        raise make_serialization_error("The body is not JSON in UTF-8") from None
    if not isinstance(request, dict):
        raise make_serialization_error("Unexpected value type in payload")
    return request


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
