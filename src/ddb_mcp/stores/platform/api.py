"""The platform's HTTP API: one request and its answer, repeated where that is safe, every failure an error of ours."""

import email.utils
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import anyio

from ddb_mcp import __version__
from ddb_mcp.core import errors, limits
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
from ddb_mcp.stores.platform.credentials import Credentials, CredentialSource, origin
from ddb_mcp.stores.retries import AttemptFailed, Completed, Outcome, Pace, Write, complete

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

PATH = "/api/data/dynamodb/"
# Shorter ones are found in ordinary words, and keep nobody out.
_SECRET_LENGTH = 8
_REDIRECTS = 3
_SHOWN = 400
_SHOWN_MEDIA = ("text/html", "text/plain", "text/xml", "application/xml", "application/octet-stream")

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
    404: NotProvisioned,
    408: Timeout,
    409: Unavailable,
    412: ConditionFailed,
    429: Throttled,
    504: Timeout,
}
# What platforms call things that have a code here; looked for in the error's code and, below 500, in its message.
_NOT_PROVISIONED = re.compile(
    r"not.?provisioned|(table|deployment).{0,40}(not.?found|not.?exist)|resource.?not.?found", re.I
)
# Members of an answer with a good status that say otherwise, and those that an answer has where all is well.
_FAILURE = ("error", "errors", "errorMessage")
_REFUSAL = (*_FAILURE, "success", "ok", "code", "errorCode", "errorType", "message", "detail", "next", "retryable")
_CONTENT = ("item", "Item", "items", "Items", "data", "result")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_ABSENT = re.compile(r"not.?found|no such item|not.?exist", re.I)
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


@dataclass(frozen=True)
class Answer:
    """What the platform answered.

    Attributes:
        document: the JSON, with its numbers as exact Decimals; None for `null`, and for no content at all.
        empty: there was no content.
    """

    document: Any
    empty: bool = False


class PlatformApi:
    """Calls of a platform over an HTTP client with kept connections, made on first use.

    Args:
        credentials: where address and token come from.
        attempt_seconds: how long one request may take.
        call_seconds: after this time a failed request is not repeated.
    """

    def __init__(self, credentials: CredentialSource, *, attempt_seconds: float, call_seconds: float) -> None:
        self._credentials = credentials
        self._attempt_seconds = attempt_seconds
        self._call_seconds = call_seconds
        self._clients: dict[bool, httpx.AsyncClient] = {}
        self._slots = anyio.CapacityLimiter(limits.PLATFORM_CONNECTIONS)

    async def call(
        self, operation: str, body: Mapping[str, Any], *, ours: bool = False, write: Write | None = None
    ) -> Completed[Answer]:
        """POST `body` to the operation.

        Args:
            ours: the platform's `info` lists our features: it is our own gateway, whose `next` and whose word on what
                was done are ours.
            write: for a put or a delete, how it is settled after a lost answer.

        Raises:
            OutcomeUnknown: a write that the platform may or may not have done.
            DdbMcpError: as the platform answered, or Unavailable, Timeout or Throttled after the last attempt.
        """
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        called = anyio.current_time()
        credentials = await self._credentials.current()

        async def attempt() -> Answer:
            async with self._slots:
                return await self._attempt(operation, content, credentials, called, ours=ours)

        async def renew() -> None:
            nonlocal credentials
            credentials = await self._credentials.renew(credentials)

        pace = Pace(
            limits.PLATFORM_ATTEMPTS, self._call_seconds, limits.PLATFORM_BACKOFF_SECONDS, limits.BACKOFF_MAX_SECONDS
        )
        return await complete(attempt, pace, renew=renew, write=write)

    async def close(self) -> None:
        while self._clients:
            await self._clients.popitem()[1].aclose()

    async def _attempt(
        self, operation: str, content: bytes, credentials: Credentials, called: float, *, ours: bool
    ) -> Answer:
        import httpx

        started = time.monotonic()
        # A late attempt is shorter: hosts give up on a call after 60 s, and a lost answer is to be settled before.
        seconds = min(self._attempt_seconds, called + limits.PLATFORM_CALL_SECONDS - anyio.current_time())
        try:
            with anyio.fail_after(seconds):
                response, body = await self._post(credentials.url + PATH + operation, content, credentials)
        except TimeoutError:
            error = Timeout(f"The platform gave no answer within {seconds:.3g} s.")
            raise AttemptFailed(error, Outcome.LOST, retry=True) from None
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            raise _unanswered(failure, credentials) from None
        logger.debug("%s: status %s in %.0f ms", operation, response.status_code, (time.monotonic() - started) * 1000)
        return _judged(operation, response, body, credentials, ours=ours)

    async def _post(self, url: str, content: bytes, credentials: Credentials) -> "tuple[httpx.Response, bytes]":
        """The answer after redirects within the platform's own origin; its body cut off above the maximum."""
        headers = {"Authorization": f"Bearer {credentials.token}", "Content-Type": "application/json"}
        client = self._opened(tls=url.startswith("https:"))
        for _ in range(_REDIRECTS):
            async with client.stream("POST", url, content=content, headers=headers) as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > limits.PLATFORM_ANSWER_MAX_BYTES:
                        break
            if not response.has_redirect_location:
                break
            try:
                url = urljoin(url, response.headers["location"])
                target = origin(url)
            except (ValueError, Misconfigured):
                break
            if target != credentials.origin:
                error = Misconfigured(
                    f"The platform redirects to {target}, another origin, where its token does not go.",
                    next="If the platform has moved, configure its new address.",
                )
                raise AttemptFailed(error, Outcome.NOT_DONE, retry=False)
            if response.status_code not in (307, 308):  # the others turn a POST into a GET
                break
        return response, bytes(body)

    def _opened(self, *, tls: bool) -> "httpx.AsyncClient":
        """The client for https, or the one for http, which is spared the 30 ms that loading the certificates takes."""
        if tls not in self._clients:
            import httpx

            # Their debug output has whole response headers, and a platform might repeat a token in one.
            for name in ("httpx", "httpcore"):
                logging.getLogger(name).setLevel(logging.WARNING)
            try:
                self._clients[tls] = httpx.AsyncClient(
                    verify=tls,
                    headers={"Accept": "application/json", "User-Agent": f"ddb-mcp/{__version__}"},
                    timeout=httpx.Timeout(None, connect=limits.PLATFORM_CONNECT_SECONDS),
                    limits=httpx.Limits(
                        max_connections=limits.PLATFORM_CONNECTIONS,
                        max_keepalive_connections=limits.PLATFORM_CONNECTIONS,
                    ),
                    # A proxy would see the token of an http:// request; that of https:// goes through it in a tunnel.
                    trust_env=tls,
                )
            except (ImportError, OSError, ValueError, httpx.InvalidURL):  # of SOCKS; SSLError is an OSError
                error = Misconfigured(
                    "The certificates or the proxy for https:// cannot be used.",
                    next="Correct SSL_CERT_FILE, SSL_CERT_DIR, HTTPS_PROXY, ALL_PROXY or NO_PROXY, or unset them.",
                )
                raise AttemptFailed(error, Outcome.NOT_DONE, retry=False) from None
        return self._clients[tls]


def _unanswered(failure: Exception, credentials: Credentials) -> AttemptFailed:
    """What a request without an answer means. The failure's own text can quote what was sent, and is left out."""
    import httpx

    match failure:
        case httpx.ProxyError():
            error: DdbMcpError = Unavailable(
                "The HTTP proxy cannot be used.", next="Check HTTPS_PROXY, ALL_PROXY and NO_PROXY."
            )
        case httpx.ConnectError() if "CERTIFICATE_VERIFY_FAILED" in str(failure):
            error = Misconfigured(
                f"The TLS certificate of {credentials.origin} is not trusted here.",
                next="Correct the address, or let SSL_CERT_FILE name the certificates to trust.",
            )
        case httpx.ConnectError() | httpx.ConnectTimeout():
            error = Unavailable(f"There is no connection to {credentials.origin}.")
        case _:
            error = Unavailable(f"The connection to {credentials.origin} broke ({type(failure).__name__}).")
            return AttemptFailed(error, Outcome.LOST, retry=True)
    return AttemptFailed(error, Outcome.NOT_DONE, retry=error.retryable)


def _judged(operation: str, response: "httpx.Response", body: bytes, credentials: Credentials, *, ours: bool) -> Answer:
    """The answer, if the operation succeeded. Raises AttemptFailed."""
    status = response.status_code
    document, problem = _document(response, body)
    refused = 200 <= status < 300 and not problem and _refuses(operation, document)
    if 200 <= status < 300 and not problem and not refused:
        if operation in ("info", "provision"):
            document = _without(document, credentials.token)
        return Answer(document, empty=not body.strip())
    said = _Said.of(document, credentials.token)
    kind = _OWN_CODES.get(said.code) or _kind(status, said)
    absent = kind is NotProvisioned and not problem and not _NOT_PROVISIONED.search(f"{said.code} {said.text}")
    if absent and operation in ("get", "delete"):
        return Answer({"item": None, "deleted": False})
    if problem and kind not in (Unauthenticated, Forbidden, Throttled):
        error: DdbMcpError = Unavailable(f"The platform answered with status {status} and {problem}.")
    elif kind is NotProvisioned and operation == "provision":
        error = Unavailable(f"The platform answered provision with status {status}.", next="Is its address right?")
    else:
        error = _error(kind, status, said, document, credentials, ours=ours)
    # A platform that says with a good status that it failed is taken at its word, but for a time-out.
    unsure = Timeout if refused else Unavailable | Timeout | OutcomeUnknown
    # Our own gateway has looked for itself, and has a code of its own for what it cannot tell.
    known = ours and said.code in _OWN_CODES and kind is not OutcomeUnknown
    lost = isinstance(error, unsure) and not known and not 300 <= status < 500
    raise AttemptFailed(
        error,
        Outcome.LOST if lost else Outcome.NOT_DONE,
        retry=error.retryable and (status >= 500 or kind in (Throttled, Timeout)),
        wait=_retry_after(response.headers.get("retry-after")),
    )


def _document(response: "httpx.Response", body: bytes) -> tuple[Any, str | None]:
    """The JSON of an answer, and what is wrong with it."""
    if len(body) > limits.PLATFORM_ANSWER_MAX_BYTES:
        return None, f"more than {limits.PLATFORM_ANSWER_MAX_BYTES // 1_000_000} MB"
    if not body.strip():
        return None, None
    media = response.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media != "application/json" and not media.endswith("+json"):
        return None, f"{media if media in _SHOWN_MEDIA else 'content'} that is not JSON"
    try:
        return parse_json(body.decode(), "the answer"), None
    except (InvalidArgument, UnicodeDecodeError):
        return None, "JSON that is broken off or not valid"


def _refuses(operation: str, document: Any) -> bool:
    """Whether an answer with a good status says that the operation failed."""
    if not isinstance(document, Mapping):
        return False
    # An item, whose attributes may be called anything. A refused write may name its key.
    if {"pk", "sk"} <= document.keys() and (operation == "get" or document.keys() - {"pk", "sk", *_REFUSAL}):
        return False
    if any(str(document.get(name)).lower() == "false" for name in ("success", "ok")):
        return True
    return any(map(document.get, _FAILURE)) and not any(map(document.get, _CONTENT))


def _without(value: Any, token: str, depth: int = 2) -> Any:
    """What `info` and `provision` say, without the token that a platform may repeat there."""
    if isinstance(value, str) and len(token) >= _SECRET_LENGTH:
        value = value.replace(token, "(token)")
    if isinstance(value, str):
        return _CONTROL.sub("\ufffd", value)  # these are printed on terminals
    if isinstance(value, dict) and depth:
        return {name: _without(entry, token, depth - 1) for name, entry in value.items()}
    return value


@dataclass(frozen=True)
class _Said:
    """What an error answer says, from the forms in which platforms say it.

    Attributes:
        code: the error's name, which is never shown.
        text: the message. No token and no control character is in it.
        next, quoted: from our own gateway, what to do, and what its storage said.
    """

    code: str
    text: str
    next: str
    quoted: str

    @classmethod
    def of(cls, document: Any, token: str) -> "_Said":
        said = document if isinstance(document, Mapping) else {}
        if isinstance(said.get("error"), Mapping):
            said = said["error"]

        def given(*names: str) -> str:
            return next((value for name in names if isinstance(value := said.get(name), str) and value.strip()), "")

        def text(*names: str) -> str:
            words = _CONTROL.sub(" ", given(*names).replace(token, "(token)"))
            clean = " ".join(words.encode(errors="replace").decode().split())
            return clean if len(clean) <= _SHOWN else clean[:_SHOWN] + "…"

        return cls(
            given("error", "code", "errorCode", "errorType"),
            text("message", "errorMessage", "detail", "error_description", "error"),
            text("next"),
            text("quoted"),
        )


def _kind(status: int, said: _Said) -> type[DdbMcpError]:
    if status in (401, 403, 429):
        return _BY_STATUS[status]
    words = said.code if status >= 500 else f"{said.code} {said.text}"
    for pattern, kind in _BY_WORDS:
        if pattern.search(words):
            return kind
    if status < 300 and _ABSENT.search(words):
        return NotProvisioned
    return _BY_STATUS.get(status, InvalidArgument if 400 <= status < 500 else Unavailable)


def _error(
    kind: type[DdbMcpError], status: int, said: _Said, document: Any, credentials: Credentials, *, ours: bool
) -> DdbMcpError:
    """The error for a refusal. Only our own gateway's words are taken for ours; others' are quoted."""
    quoted = said.text or None
    if kind is Unauthenticated:
        return Unauthenticated(
            f"The platform refused the token of {credentials.source} (status {status}).",
            next=f"Renew the token of {credentials.source}.",
            quoted=quoted,
        )
    if ours and said.text and said.code in _OWN_CODES:
        error = kind(said.text, next=said.next or None, quoted=said.quoted or None)
        if isinstance(error, ConditionFailed):
            error.item = _stored(document)
        return error
    if kind is Forbidden:
        return Forbidden(
            f"The platform does not allow this with the token of {credentials.source} (status {status}).",
            next="Use a token with the rights for this, or leave it.",
            quoted=quoted,
        )
    advice = kind.default_next or "Read what the platform says, and correct the call."
    return kind(f"The platform answered with status {status}.", next=advice, quoted=quoted)


def own_error(said: Any) -> DdbMcpError:
    """The error that our own gateway's answer has for one of several writes."""
    found = said if isinstance(said, Mapping) else {}
    kind = _OWN_CODES.get(str(found.get("code")), Unavailable)
    message, advice = (value if isinstance(value := found.get(name), str) else None for name in ("message", "next"))
    return kind(message or "It was not done.", next=advice)


def _stored(document: Any) -> Any:
    """The stored item in a failed condition, which only platforms with the feature `types` send."""
    try:
        return parse_item(document["item"])
    except (KeyError, TypeError, InvalidArgument):
        return None


def _retry_after(header: str | None) -> float | None:
    """Seconds to wait, from either form of the header: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after"""
    if header is None:
        return None
    if re.fullmatch("[0-9]{1,6}", header.strip()):
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None
