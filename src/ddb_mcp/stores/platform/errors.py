"""Maps a platform's failures to our errors: requests without an answer, and answers that refuse.

A platform's own words are never part of a message or of `next`: they are `quoted`, our own gateway's too. Whatever a
platform lists in `features`, nothing proves that it is our gateway.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from ddb_mcp.config.values import is_loopback
from ddb_mcp.core import errors
from ddb_mcp.core.errors import (
    ConditionFailed,
    DdbMcpError,
    Forbidden,
    InvalidArgument,
    Misconfigured,
    NotProvisioned,
    OutcomeUnknown,
    Throttled,
    Timeout,
    Unauthenticated,
    Unavailable,
)
from ddb_mcp.core.items import parse_item, parse_json
from ddb_mcp.core.text import quote_start
from ddb_mcp.stores import tls
from ddb_mcp.stores.platform.answers import Answer
from ddb_mcp.stores.platform.credentials import Credentials
from ddb_mcp.stores.retries import AttemptFailed, RequestOutcome

if TYPE_CHECKING:
    import httpx

PLATFORM_ANSWER_MAX_BYTES = 10_000_000


_OWN_CODES = {
    error.code: error
    for error in vars(errors).values()
    if isinstance(error, type)
    and issubclass(error, DdbMcpError)
    # A bug of the platform's is not one of ours.
    and error not in (DdbMcpError, errors.Internal)
}
_BY_STATUS: dict[int, type[DdbMcpError]] = {
    401: Unauthenticated,
    403: Forbidden,
    408: Timeout,
    409: Unavailable,
    412: ConditionFailed,
    429: Throttled,
    504: Timeout,
}
# Statuses of a server that is not the API: no such path, or no POST there.
_NO_SUCH_PATH = (404, 405)
# Platforms' words for our errors: looked for in the error's code and, for a status below 500, in its message.
_NOT_PROVISIONED = re.compile(
    r"not.?provisioned|(table|deployment).{0,40}(not.?found|not.?exist)|resource.?not.?found", re.I
)
_BY_WORDS: tuple[tuple[re.Pattern[str], type[DdbMcpError]], ...] = (
    (_NOT_PROVISIONED, NotProvisioned),
    (re.compile(r"throttl|rate.?limit|too.?many.?requests|throughput", re.I), Throttled),
    (re.compile(r"conditional.?check|condition.?failed", re.I), ConditionFailed),
    (
        re.compile(r"unauthori[sz]ed|unauthenticated|(invalid|expired|missing).{0,8}token|token.{0,12}expired", re.I),
        Unauthenticated,
    ),
    (re.compile(r"forbidden|access.?denied|not.?permitted", re.I), Forbidden),
    (re.compile(r"timed.?out|timeout", re.I), Timeout),
    (re.compile(r"validation|invalid|required|malformed|bad.?request", re.I), InvalidArgument),
)
_ABSENT = re.compile(r"not.?found|no such item|not.?exist", re.I)
_JSON = re.compile(r"application/([^;]+\+)?json *(;|$)", re.I)
_CONTENT = {"item", "Item", "items", "Items", "data"}
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
# A shorter token may be part of an ordinary word, and protects nothing.
_SECRET_LENGTH = 8
_SHOWN = 400
_NOT_JSON = "content that is not JSON"
_ADDRESS = "Is the platform's address right? It is the one before /api/data/dynamodb."


# No answer


def make_connection_failure(failure: Exception, credentials: Credentials) -> AttemptFailed:
    """Return the failed attempt of a request without an answer, without the failure's text, which may quote it."""
    import httpx

    where = credentials.origin
    error: DdbMcpError
    if isinstance(failure, httpx.ProxyError):
        error = Unavailable("The HTTP proxy cannot be used.", next="Check HTTPS_PROXY, ALL_PROXY and NO_PROXY.")
    elif tls.is_untrusted_certificate(failure):
        error = Misconfigured(
            f"The TLS certificate of {where} is not trusted here.",
            next="Correct the address, or let SSL_CERT_FILE name the certificates to trust.",
        )
    elif tls.is_plain_http(failure):
        error = Misconfigured(f"The server at {where} does not speak TLS.", next="Is it http:// instead of https://?")
    elif isinstance(failure, httpx.ConnectError | httpx.ConnectTimeout):
        error = _make_connect_error(credentials)
    else:
        error = Unavailable(f"The connection to {where} broke ({type(failure).__name__}).", next=tls.BROKEN_NEXT)
        return AttemptFailed(error, RequestOutcome.LOST, retry=True)
    return AttemptFailed(error, RequestOutcome.NOT_DONE, retry=error.retryable)


def _make_connect_error(credentials: Credentials) -> DdbMcpError:
    if is_loopback(urlsplit(credentials.url).hostname or ""):
        return Unavailable(
            f"Nothing listens at {credentials.origin}: the gateway is not running.",
            next="Start it with `ddb-mcp gateway serve`, or correct the platform's address.",
        )
    return Unavailable(f"Cannot connect to {credentials.origin}.")


# Answers


class ErrorAnswer(NamedTuple):
    """An answer other than the operation's result.

    Attributes:
        code: the error's name, which is never shown.
        text: the message, without the token and control characters.
        problem: what is wrong with the answer's form; empty if it is JSON.
    """

    operation: str
    status: int
    document: Any
    problem: str
    token: str

    @property
    def code(self) -> str:
        return self._given("error")

    @property
    def text(self) -> str:
        return self.said("message") or self.said("error")

    def said(self, name: str) -> str:
        """Return a member's text, safe to be shown."""
        words = _CONTROL.sub(" ", self._given(name).replace(self.token, "(token)"))
        return quote_start(" ".join(words.encode(errors="replace").decode().split()), _SHOWN)

    def _given(self, name: str) -> str:
        value = self.document.get(name) if isinstance(self.document, Mapping) else None
        return value if isinstance(value, str) else ""

    @property
    def kind(self) -> type[DdbMcpError]:
        """Return the class of our error, by the answer's code, its status, or its words."""
        if own := _OWN_CODES.get(self.code):
            return own
        if self.status in (401, 403, 429):
            return _BY_STATUS[self.status]
        words = self.code if self.status >= 500 else f"{self.code} {self.text}"
        for pattern, kind in _BY_WORDS:
            if pattern.search(words):
                return kind
        if self.is_good and _ABSENT.search(words):
            return NotProvisioned
        unknown = Misconfigured if self.status in _NO_SUCH_PATH or 300 <= self.status < 400 else InvalidArgument
        return _BY_STATUS.get(self.status, unknown if 300 <= self.status < 500 else Unavailable)

    @property
    def is_good(self) -> bool:
        """Return whether the status says that all is well."""
        return 200 <= self.status < 300

    @property
    def is_absent(self) -> bool:
        """Return whether the answer means that there is no item, not that there is no deployment."""
        if self.operation not in ("get", "delete") or self.problem:
            return False
        named = _NOT_PROVISIONED.search(f"{self.code} {self.text}") or self.code in _OWN_CODES
        return not named and (self.status == 404 or (self.is_good and self.kind is NotProvisioned))


def parse_answer(
    operation: str, response: "httpx.Response", body: bytes, credentials: Credentials, *, ours: bool
) -> Answer:
    """Return the answer if the operation succeeded. Raises AttemptFailed."""
    document, problem = _parse_document(response, body)
    refusal = ErrorAnswer(operation, response.status_code, document, problem, credentials.token)
    refused = not problem and _reports_failure(operation, document)
    if refusal.is_good and not problem and not refused:
        if operation in ("info", "provision"):
            document = _redact(document, credentials.token)
        return Answer(document, empty=not body.strip())
    if refusal.is_absent:
        return Answer({"item": None, "deleted": False})
    error = _make_error(refusal, credentials, ours=ours)
    raise AttemptFailed(
        error,
        _classify_outcome(refusal, error, refused=refused, ours=ours),
        retry=error.retryable and (refusal.status >= 500 or isinstance(error, Throttled | Timeout)),
        wait=_parse_retry_after(response.headers.get("retry-after", "")),
    )


def _classify_outcome(refusal: ErrorAnswer, error: DdbMcpError, *, refused: bool, ours: bool) -> RequestOutcome:
    """Return the outcome of the refused request. Our own gateway has a code for an unknown outcome."""
    if 300 <= refusal.status < 500 or (ours and refusal.code in _OWN_CODES and not isinstance(error, OutcomeUnknown)):
        return RequestOutcome.NOT_DONE
    if refusal.is_good and not refused:  # a page, or half an answer
        return RequestOutcome.LOST
    # A platform that says with a good status that it failed is taken at its word, but for a time-out.
    unsure = Timeout if refused and refusal.is_good else Unavailable | Timeout | OutcomeUnknown
    return RequestOutcome.LOST if isinstance(error, unsure) else RequestOutcome.NOT_DONE


def _parse_document(response: "httpx.Response", body: bytes) -> tuple[Any, str]:
    """Return the JSON of an answer, and what is wrong with the answer's form; empty if nothing is."""
    if len(body) > PLATFORM_ANSWER_MAX_BYTES:
        return None, f"more than {PLATFORM_ANSWER_MAX_BYTES // 1_000_000} MB"
    if not body.strip():
        return None, ""
    if not _JSON.match(response.headers.get("content-type", "application/json")) or body.lstrip().startswith(b"<"):
        return None, _NOT_JSON
    try:
        return parse_json(body.decode(), "the answer"), ""
    except (InvalidArgument, UnicodeDecodeError):
        return None, "JSON that is broken off or not valid"


def _reports_failure(operation: str, document: Any) -> bool:
    """Return whether an answer says that the operation failed, by `success` or `error` alone, whatever its status."""
    if not isinstance(document, Mapping):
        return False
    if {"pk", "sk"} <= document.keys() and (operation == "get" or document.keys() - {"pk", "sk", "error", "message"}):
        return False  # an item, whose attributes may be called anything
    failed = bool(document.get("error")) and not any(map(document.get, _CONTENT))
    return document.get("success") is False or failed


def _redact(value: Any, token: str, depth: int = 2) -> Any:
    """Remove the token from an answer to `info` or `provision`: a platform may repeat it there."""
    if isinstance(value, str) and len(token) >= _SECRET_LENGTH:
        value = value.replace(token, "(token)")
    if isinstance(value, str):
        return _CONTROL.sub("\ufffd", value)  # these are printed on terminals
    if isinstance(value, dict) and depth:
        return {name: _redact(entry, token, depth - 1) for name, entry in value.items()}
    return value


def _make_error(refusal: ErrorAnswer, credentials: Credentials, *, ours: bool) -> DdbMcpError:
    kind, status, quoted = refusal.kind, refusal.status, refusal.text or None
    if 300 <= status < 400:
        return Misconfigured(f"The platform redirects (status {status}); the token is not forwarded.", next=_ADDRESS)
    if kind is Unauthenticated:
        return Unauthenticated(
            f"The platform refused the token of {credentials.source} (status {status}).",
            next=f"Renew the token of {credentials.source}.",
            quoted=quoted,
        )
    if ours and refusal.text and refusal.code in _OWN_CODES:
        return _coded(kind, refusal)
    if kind is Forbidden:
        return Forbidden(
            f"The platform does not allow this with the token of {credentials.source} (status {status}).",
            next="Use a token that has the permission.",
            quoted=quoted,
        )
    if refusal.problem and kind is not Throttled:
        wrong_place = status in _NO_SUCH_PATH or (refusal.problem == _NOT_JSON and status < 500)
        message = f"The platform answered with status {status} and {refusal.problem}."
        return Misconfigured(message, next=_ADDRESS) if wrong_place else Unavailable(message)
    if kind is Misconfigured or (kind is NotProvisioned and refusal.operation == "provision"):
        message = f"The platform answered {refusal.operation} with status {status}."
        return Misconfigured(message, next=_ADDRESS, quoted=quoted)
    advice = kind.default_next or "Read the platform's message, and correct the call."
    return kind(f"The platform answered with status {status}.", next=advice, quoted=quoted)


def _coded(kind: type[DdbMcpError], refusal: ErrorAnswer) -> DdbMcpError:
    """Return the error for an answer with one of our codes, as our gateway gives it."""
    quoted = " ".join(filter(None, map(refusal.said, ("message", "next", "quoted"))))
    message = f"The platform answered {refusal.code}."
    if kind is not ConditionFailed:
        return kind(
            message, next=kind.default_next or "Read the platform's message, and correct the call.", quoted=quoted
        )
    try:
        item = parse_item(refusal.document["item"])
    except (KeyError, TypeError, InvalidArgument):
        item = None
    return ConditionFailed(message, item=item, quoted=quoted)


def parse_gateway_error(error: Any) -> DdbMcpError:
    """Return the error for one of several writes. Its words stand in `failed`, which is stored data to the reader."""
    members = error if isinstance(error, Mapping) else {}
    kind = _OWN_CODES.get(str(members.get("code")), Unavailable)
    texts = (members.get(name) for name in ("message", "next"))
    message, advice = (quote_start(text, _SHOWN) if isinstance(text, str) else None for text in texts)
    return kind(message or "It was not done.", next=advice)


def _parse_retry_after(header: str) -> float | None:
    """Return the seconds to wait, None for a date: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after"""
    return float(header) if re.fullmatch("[0-9]{1,6}", header.strip()) else None
