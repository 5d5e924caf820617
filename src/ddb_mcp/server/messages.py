"""JSON-RPC messages from the text that clients send, over stdio and HTTP alike.

The SDK (mcp 2.3) parses with pydantic, which rounds fractions and refuses lone surrogates. Python's `json` keeps both,
so that a tool gets every digit, and can name the place of a lone surrogate.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from mcp_types import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    jsonrpc_message_adapter,
)

from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.text import build_object, exceeds_members
from ddb_mcp.service.operations import OPERATIONS
from ddb_mcp.service.parameters import parse_arguments_object
from ddb_mcp.stores.workers import is_large
from ddb_mcp.web.requests import BODY_MEMBERS_MAX

# This version alone has JSON-RPC batches, which the SDK lacks. A client of this version speaks the older version too.
_VERSION_WITH_BATCHES = "2025-03-26"
_VERSION_INSTEAD = "2024-11-05"

# Where SDKs write the id of a request: right at the beginning of the line, or right at its end.
_ID_AT_BEGINNING = re.compile(
    rb'\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d{1,18}|"(?:[^"\\]|\\["\\])*")\s*,\s*"method"'
)
_METHOD_AT_BEGINNING = re.compile(rb'\s*\{\s*"method"')
_ID_AT_END = re.compile(rb'"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d{1,18}|"[^"\\]*")\s*\}\s*\Z')
# Bytes of a line in which its id is looked for.
_ID_WITHIN = 300


# Answers repeat ids, methods, and names of tools and resources.
_NAME_MAX = 1000
# Tools have a dozen parameters.
_ARGUMENTS_MAX = 100
# A batch of more requests has one answer.
_BATCH_MAX = 100
_LONG_NAME = f"Invalid request: an id, a method or a parameter has more than {_NAME_MAX} characters"
_TOO_LARGE = "Invalid request: too many members, or too much text, outside of params.arguments"
_TOO_MANY = f"Invalid request: more than {BODY_MEMBERS_MAX} members in one message"
_ARGUMENTS = "ddb_mcp.arguments"
_WRITES = [operation.name for operation in OPERATIONS if operation.writes]


class NotAMessage(Exception):
    """Text that is not a message. `answers` are errors for the client, each with its request's id or null."""

    def __init__(self, *answers: JSONRPCError) -> None:
        super().__init__("not a message")
        self.answers = answers


def parse_message(text: bytes) -> JSONRPCMessage:
    """Return the message in one line, or in one HTTP body. Fractions in it are Decimals, integers are ints.

    All but the arguments of a call is small, so that the event loop may handle it, and send parts of it back.

    Raises:
        NotAMessage: it is not JSON, not one JSON-RPC 2.0 message, too large outside of a call's arguments, or has an
            object with a member twice.
    """
    try:
        content = text.decode(errors="surrogateescape")  # half characters, which a tool refuses by name
        if exceeds_members(content, BODY_MEMBERS_MAX):
            raise NotAMessage(_make_error(_find_id(text), INVALID_REQUEST, _TOO_MANY))
        document, twice = _load_json(content)
    except (ValueError, RecursionError):
        raise NotAMessage(
            _make_error(_find_id(text), PARSE_ERROR, "Parse error: not JSON, or nested far too deep")
        ) from None
    if isinstance(document, list):
        raise NotAMessage(*_refuse_batch(document))
    if twice:
        problem = f"Invalid request: an object has the member {twice[0]} twice; only one could be stored"
        raise NotAMessage(_make_error(_get_id(document), INVALID_REQUEST, problem))
    return _bounded(_correct_deviations(_validate(document)), document)


def is_write(message: JSONRPCMessage) -> bool:
    """Return whether it calls a tool that writes."""
    return _get_call(message).get("name") in _WRITES


def has_arguments(message: JSONRPCMessage) -> bool:
    """Return whether it calls a tool with arguments."""
    return isinstance(_get_call(message).get("arguments"), dict)


def _get_call(message: JSONRPCMessage) -> dict[str, Any]:
    """Return the parameters of a `tools/call`, `{}` of any other message."""
    if isinstance(message, JSONRPCRequest) and message.method == "tools/call":
        return message.params or {}
    return {}


def attach_arguments(scope: MutableMapping[str, Any], message: JSONRPCMessage) -> MutableMapping[str, Any]:
    """Return the scope of an HTTP request that carries its call's arguments past the SDK, which would round them."""
    return {**scope, _ARGUMENTS: _get_call(message)["arguments"]} if has_arguments(message) else scope


def get_attached_arguments(request: Any) -> dict[str, Any] | None:
    """Return the arguments that `attach_arguments` put into the scope of this HTTP request, None over stdio."""
    arguments: dict[str, Any] | None = getattr(request, "scope", {}).get(_ARGUMENTS)
    return arguments


def _load_json(text: str) -> tuple[Any, list[str]]:
    """Return the document, and the names that occur twice in one object. Raises ValueError and RecursionError."""
    twice: list[str] = []
    document = json.loads(
        text,
        strict=False,
        object_pairs_hook=partial(build_object, on_duplicate=twice.append),
        parse_int=_parse_integer,
        parse_float=_parse_fraction,
        parse_constant=_parse_constant,
    )
    return document, twice


def _parse_integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 4000 else float(digits)  # `int` refuses more than 4,300; infinity is refused


def _parse_fraction(digits: str) -> Decimal | float:
    try:
        return Decimal(digits)
    except InvalidOperation:  # an exponent beyond all bounds
        return math.inf


def _parse_constant(name: str) -> float:
    return float(name)  # NaN and Infinity, which a tool refuses


def _validate(document: Any) -> JSONRPCMessage:
    request = _get_id(document)
    try:
        message = jsonrpc_message_adapter.validate_python(document, by_name=False)
        f"{document.get('id')}{document.get('method')}".encode()  # the SDK would fail over half a character in these
    except ValueError:  # pydantic's ValidationError is one
        raise NotAMessage(
            _make_error(request, INVALID_REQUEST, "Invalid request: not a JSON-RPC 2.0 message")
        ) from None
    if isinstance(message, JSONRPCNotification) and "id" in document:
        # The SDK takes a request whose id is a fraction, true or null for a notification.
        raise NotAMessage(_make_error(None, INVALID_REQUEST, "Invalid request: an id is a whole number or a string"))
    return message


def _get_id(document: Any) -> int | str | None:
    """Return the id that an answer to this request needs, None if it has none or one that cannot be sent back."""
    if not isinstance(document, dict) or "method" not in document:
        return None
    request = document.get("id")
    if not isinstance(request, int | str) or isinstance(request, bool) or len(str(request)) > _NAME_MAX:
        return None
    return request if str(request).isprintable() else None


def _refuse_batch(documents: list[Any]) -> list[JSONRPCError]:
    problem = "Invalid request: batches are not served, send each message by itself"
    ids: list[int | str | None] = [request for request in map(_get_id, documents) if request is not None]
    return [
        _make_error(request, INVALID_REQUEST, problem) for request in (ids if 0 < len(ids) <= _BATCH_MAX else [None])
    ]


def _find_id(text: bytes) -> int | str | None:
    """Return the id of a request that is not JSON, from the places where SDKs write ids. None if there is no id."""
    beginning = text[:_ID_WITHIN]
    found = _ID_AT_BEGINNING.match(beginning)
    if not found and _METHOD_AT_BEGINNING.match(beginning):
        found = _ID_AT_END.search(text[-_ID_WITHIN:])
    return json.loads(found[1].decode(errors="replace"), strict=False) if found else None


def _make_error(request: int | str | None, code: int, problem: str) -> JSONRPCError:
    return JSONRPCError(jsonrpc="2.0", id=request, error=ErrorData(code=code, message=problem))


def _correct_deviations(message: JSONRPCMessage) -> JSONRPCMessage:
    """Return the message, with known deviations of hosts corrected that the SDK would refuse or not answer."""
    if not isinstance(message, JSONRPCRequest) or message.params is None:
        return message
    if message.method == "tools/call" and "arguments" in message.params:
        arguments = message.params["arguments"]
        with suppress(InvalidArgument):  # then the SDK refuses them
            message.params["arguments"] = {} if arguments == "" else parse_arguments_object(arguments)
    elif message.method == "initialize" and message.params.get("protocolVersion") == _VERSION_WITH_BATCHES:
        message.params["protocolVersion"] = _VERSION_INSTEAD
    return message


def _bounded(message: JSONRPCMessage, document: dict[str, Any]) -> JSONRPCMessage:
    """Return the message. Raises NotAMessage if too much is outside the arguments of a call."""
    params = document.get("params") or {}
    if has_arguments(message):
        if len(_get_call(message)["arguments"]) > _ARGUMENTS_MAX:
            problem = f"Invalid parameters: more than {_ARGUMENTS_MAX} arguments"
            raise NotAMessage(_make_error(_get_id(document), INVALID_PARAMS, problem))
        params = {**params, "arguments": {}}
        document = {**document, "params": params}
    if is_large(document):
        raise NotAMessage(_make_error(_get_id(document), INVALID_REQUEST, _TOO_LARGE))
    if isinstance(message, JSONRPCRequest) and any(len(str(name)) > _NAME_MAX for name in _repeated(document, params)):
        raise NotAMessage(_make_error(_get_id(document), INVALID_REQUEST, _LONG_NAME))
    return message


def _repeated(document: dict[str, Any], params: dict[str, Any]) -> Iterator[str | int]:
    """Yield what answers may repeat of a request."""
    meta = params.get("_meta")
    token = meta.get("progressToken") if isinstance(meta, dict) else None
    for value in (document.get("id"), document.get("method"), token, *params.values()):
        if isinstance(value, str | int):
            yield value
