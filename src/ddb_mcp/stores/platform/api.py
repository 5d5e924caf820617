"""The platform's HTTP API: one request and its answer, repeated if that is safe."""

import json
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio

from ddb_mcp import __version__
from ddb_mcp.core.errors import Misconfigured, Timeout
from ddb_mcp.stores.platform.answers import Answer
from ddb_mcp.stores.platform.credentials import PATH, Credentials, CredentialSource
from ddb_mcp.stores.platform.errors import PLATFORM_ANSWER_MAX_BYTES, make_connection_failure, parse_answer
from ddb_mcp.stores.retries import (
    BACKOFF_MAX_SECONDS,
    AttemptFailed,
    Completed,
    LostAnswerPolicy,
    RequestOutcome,
    RetryPolicy,
    run_with_retries,
)

if TYPE_CHECKING:
    import httpx

PLATFORM_CONNECT_SECONDS = 5
PLATFORM_CALL_SECONDS = 50
PLATFORM_ATTEMPTS = 4
PLATFORM_BACKOFF_SECONDS = 0.2
PLATFORM_CONNECTIONS = 32


logger = logging.getLogger(__name__)


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
        self._slots = anyio.CapacityLimiter(PLATFORM_CONNECTIONS)

    async def request(
        self, operation: str, body: Mapping[str, Any], *, ours: bool = False, write: LostAnswerPolicy | None = None
    ) -> Completed[Answer]:
        """POST `body` to the operation.

        Args:
            ours: the platform's `info` lists our features: its word on what was done is taken, as our gateway gives it.
            write: for a put or a delete, how a lost answer is resolved.

        Raises:
            OutcomeUnknown: a write that the platform may or may not have done.
            DdbMcpError: as the platform answered, or Unavailable, Timeout or Throttled after the last attempt.
        """
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        called = anyio.current_time()
        credentials = await self._credentials.get()

        async def attempt() -> Answer:
            async with self._slots:
                return await self._attempt(operation, content, credentials, called, ours=ours)

        async def renew() -> None:
            nonlocal credentials
            credentials = await self._credentials.renew(credentials)

        pace = RetryPolicy(PLATFORM_ATTEMPTS, self._call_seconds, PLATFORM_BACKOFF_SECONDS, BACKOFF_MAX_SECONDS)
        return await run_with_retries(attempt, pace, renew=renew, write=write)

    async def close(self) -> None:
        """Close the connections."""
        while self._clients:
            await self._clients.popitem()[1].aclose()

    async def _attempt(
        self, operation: str, content: bytes, credentials: Credentials, called: float, *, ours: bool
    ) -> Answer:
        import httpx

        started = time.monotonic()
        # A late attempt is shorter: hosts give up on a call after 60 s, and a lost answer must be resolved before.
        seconds = min(self._attempt_seconds, called + PLATFORM_CALL_SECONDS - anyio.current_time())
        try:
            with anyio.fail_after(seconds):
                response, body = await self._post(f"{credentials.url}{PATH}/{operation}", content, credentials)
        except TimeoutError:
            error = Timeout(f"The platform did not answer within {seconds:.3g} s.")
            raise AttemptFailed(error, RequestOutcome.LOST, retry=True) from None
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            raise make_connection_failure(failure, credentials) from None
        logger.debug("%s: status %s in %.0f ms", operation, response.status_code, (time.monotonic() - started) * 1000)
        return parse_answer(operation, response, body, credentials, ours=ours)

    async def _post(self, url: str, content: bytes, credentials: Credentials) -> "tuple[httpx.Response, bytes]":
        """Return the answer, whatever it is; its body cut off above the maximum. No redirect is followed."""
        headers = {"Authorization": f"Bearer {credentials.token}", "Content-Type": "application/json"}
        client = self._get_client(tls=url.startswith("https:"))
        async with client.stream("POST", url, content=content, headers=headers) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > PLATFORM_ANSWER_MAX_BYTES:
                    break
        return response, bytes(body)

    def _get_client(self, *, tls: bool) -> "httpx.AsyncClient":
        """Return the client for https or for http. The one for http skips loading certificates, which takes 30 ms."""
        if tls not in self._clients:
            import httpx

            # Their debug output has whole response headers, and a platform might repeat a token in one.
            for name in ("httpx", "httpcore"):
                logging.getLogger(name).setLevel(logging.WARNING)
            try:
                self._clients[tls] = httpx.AsyncClient(
                    verify=tls,
                    headers={"Accept": "application/json", "User-Agent": f"ddb-mcp/{__version__}"},
                    timeout=httpx.Timeout(None, connect=PLATFORM_CONNECT_SECONDS),
                    limits=httpx.Limits(
                        max_connections=PLATFORM_CONNECTIONS,
                        max_keepalive_connections=PLATFORM_CONNECTIONS,
                    ),
                    # A proxy would see the token of an http:// request; that of https:// goes through it in a tunnel.
                    trust_env=tls,
                )
            except (ImportError, OSError, ValueError, httpx.InvalidURL):  # of SOCKS; SSLError is an OSError
                error = Misconfigured(
                    "The certificates or the proxy for https:// cannot be used.",
                    next="Correct SSL_CERT_FILE, SSL_CERT_DIR, HTTPS_PROXY, ALL_PROXY or NO_PROXY, or unset them.",
                )
                raise AttemptFailed(error, RequestOutcome.NOT_DONE, retry=False) from None
        return self._clients[tls]
