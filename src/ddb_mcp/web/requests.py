"""Checks of a request that HTTP interfaces share: the server's own names, the bearer token, and JSON bodies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import parse_json
from ddb_mcp.core.text import exceeds_members, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import Scope

# Members of a whole body or message: of the largest parameter, and of what may stand beside it.
BODY_MEMBERS_MAX = 300_000


_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(\d*))?")
_READ_ONLY = re.compile("read_only=(true|false|1|0)")
_BEARER = re.compile(r"bearer +([\x21-\x7e]+)", re.I)


def find_foreign_header(scope: Scope, is_own: Callable[[str], bool], port: int | None = None) -> tuple[str, str] | None:
    """Return `Host` or `Origin` with its value if it names another server, None if the request is for this server.

    The check keeps web pages out. A page that rebinds its own name to this address sends that name as `Host`, and a
    page that calls another server sends its own address as `Origin`.

    Args:
        scope: the request's.
        is_own: whether a host name or address, in lower case and an IPv6 address in brackets, means this server.
        port: of this server, if it must be named too.
    """
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    host, origin = headers.get(b"host", ""), headers.get(b"origin")
    if not _names_server(host, is_own, port):
        return "Host", host
    scheme, _, authority = (origin or "").partition("://")
    if origin and not (scheme in ("http", "https") and _names_server(authority, is_own, port)):
        return "Origin", origin
    return None


def _names_server(authority: str, is_own: Callable[[str], bool], port: int | None) -> bool:
    match = _AUTHORITY.fullmatch(authority)
    return match is not None and is_own(match[1].lower()) and (port is None or match[2] == str(port))


def parse_bearer_token(authorization: Sequence[str]) -> str | None:
    """Return the token in a request's `Authorization` headers. None if they are not exactly one bearer token.

    https://www.rfc-editor.org/rfc/rfc6750#section-2.1
    """
    match = _BEARER.fullmatch(authorization[0]) if len(authorization) == 1 else None
    return None if match is None else match[1]


def asks_read_only(scope: Scope) -> bool:
    """Return whether a request's address limits it to reading: `?read_only=true`.

    Raises:
        InvalidArgument: the address has any other parameter. A misspelt one must not give write access.
    """
    query: str = scope["query_string"].decode("latin-1")
    if query and not _READ_ONLY.fullmatch(query):
        raise InvalidArgument(
            f"The address ends with ?{shorten(query, 100)}, which is not a parameter of this server.",
            next="Write ?read_only=true to allow reading only, or no parameter.",
        )
    return query.endswith(("=true", "=1"))


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a request's body, `{}` if the body is empty. Numbers are ints and Decimals.

    Raises:
        InvalidArgument: the body is anything else, or has more than `BODY_MEMBERS_MAX` members.
    """
    try:
        text = (body or b"{}").decode()
    except UnicodeDecodeError:
        raise InvalidArgument("The body is not JSON in UTF-8.") from None
    if exceeds_members(text, BODY_MEMBERS_MAX):
        raise InvalidArgument(f"The body has more than {BODY_MEMBERS_MAX} members.", next="Send less in one call.")
    document = parse_json(text, "The body", exact=False)
    if not isinstance(document, dict):
        raise InvalidArgument("The body must be a JSON object.")
    return document
