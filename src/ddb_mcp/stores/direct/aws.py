"""Calls to AWS: one client a service for the life of the server, in worker threads, with retries of our own.

botocore repeats a request whose answer was lost. For a conditional write that is wrong: the repetition meets what the
first one did, and a success is reported as a failed condition. So botocore makes one attempt here, and `Aws.call`
repeats: reads after every passing failure; writes only where the request certainly was not carried out (throttled, no
connection), and otherwise after a look at the stored item. Between attempts no thread is occupied, and a call can be
cancelled.
"""

import random
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import anyio
import anyio.to_thread

from ddb_mcp.core import limits
from ddb_mcp.core.errors import DdbMcpError, Timeout, Unauthenticated, Unavailable

if TYPE_CHECKING:
    from botocore.session import Session


_T = TypeVar("_T")

Answer = dict[str, Any]
Outcome = Literal["done", "not done", "unknown"]
Settled = Callable[[], Awaitable[Outcome]]


class Refused(Exception):
    """An error code that the caller of `Aws.call` asked to see, with AWS's message and the whole answer."""

    def __init__(self, code: str, response: Answer) -> None:
        super().__init__(code)
        self.code = code
        self.message = str(response.get("Error", {}).get("Message", ""))
        self.response = response


class _Stuck(Exception):
    """A thread has not come back in `limits.AWS_STUCK_SECONDS`. It may yet send what it was to send."""

    @property
    def error(self) -> Timeout:
        return Timeout(
            f"Nothing came within {limits.AWS_STUCK_SECONDS:g} s, not even from what gives the AWS credentials.",
            next="If AWS_PROFILE has a credential_process, run it in a terminal and mend it. Then restart the server.",
        )


class NotSent(Exception):
    """Nothing was sent, because there is no client, or there are no credentials: `cause` says why."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


class Aws:
    """The clients of one server, made on first use from AWS's own chain of credentials and regions.

    Args:
        table: named in errors.
        role_arn: a role to assume instead of using the credentials as they are.
        session_policy: an IAM policy that limits that role further.
    """

    def __init__(self, table: str, role_arn: str | None, session_policy: dict[str, Any]) -> None:
        self._table = table
        self._role_arn = role_arn
        self._session_policy = session_policy
        self._session: Session | None = None
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._threads = anyio.CapacityLimiter(limits.AWS_CONNECTIONS)

    async def call(
        self,
        service: str,
        operation: str,
        *,
        settled: Settled | None = None,
        expected: tuple[str, ...] = (),
        **parameters: Any,
    ) -> Answer | None:
        """Carry out one operation of a service.

        Args:
            service: `dynamodb` or `lambda`.
            operation: the client's method, for example `get_item`.
            settled: for a write. Reads the item after an answer was lost and tells what can be seen there of the write.
                Where it is not done, an error *answer* (5xx) means that it is not under way either, and it is repeated;
                after a broken connection it may still be, and the outcome is unknown.
            expected: error codes to raise as `Refused`.
            parameters: the operation's own.

        Returns:
            The answer; None for a write that was done although its answer was lost.

        Raises:
            Refused: for `expected` codes.
            DdbMcpError: for everything else, after bounded retries.
        """
        begun = time.monotonic()
        attempt, renewed = 0, False
        while True:
            attempt += 1
            used = self._clients.get(service)
            try:
                return await self._in_thread(partial(self._send, service, operation, parameters))
            except _Stuck as stuck:
                raise (_unknown(stuck.error) if settled is not None else stuck.error) from None
            except Exception as raised:
                from ddb_mcp.stores.direct import failures as aws_errors

                failure = raised.cause if isinstance(raised, NotSent) else raised
                code = aws_errors.code_of(failure)
                if code in expected:
                    raise Refused(code, failure.response) from None  # type: ignore[attr-defined]
                error = aws_errors.mapped(failure, service, operation, self._table, self._session)
                fate = "not done" if failure is not raised else aws_errors.fate(failure, operation)
                cause = failure
            if settled is not None and fate != "not done":
                outcome = await _outcome(settled, error)
                if outcome == "done":
                    return None
                if "unknown" in (outcome, fate):
                    raise _unknown(error) from cause
            if isinstance(error, Unauthenticated) and not renewed:
                # Other programs renew credentials in files while a server runs: read them once more.
                renewed = True
                self._forget(service, used)
                continue
            if (
                not error.retryable
                or attempt == limits.AWS_ATTEMPTS
                or time.monotonic() - begun > limits.AWS_LAST_ATTEMPT_SECONDS
            ):
                raise error from cause
            # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
            await anyio.sleep(random.uniform(0, min(limits.BACKOFF_MAX_SECONDS, limits.BACKOFF_SECONDS * 2**attempt)))

    async def region(self) -> str:
        """The region that the DynamoDB client talks to. Raises DdbMcpError where no client can be made."""
        try:
            client = await self._in_thread(partial(self._client, "dynamodb"))
        except _Stuck as stuck:
            raise stuck.error from None
        except Exception as failure:
            from ddb_mcp.stores.direct import failures as aws_errors

            raise aws_errors.mapped(failure, "dynamodb", "connect", self._table, self._session) from failure
        return str(client.meta.region_name)

    def close(self) -> None:
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        with anyio.move_on_after(limits.AWS_STUCK_SECONDS):
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._threads)
        raise _Stuck

    def _send(self, service: str, operation: str, parameters: dict[str, Any]) -> Answer:
        from ddb_mcp.stores.direct import session as aws_session

        try:
            client = self._client(service)
            aws_session.ready(self._session)
        except Exception as failure:
            raise NotSent(failure) from failure
        answer: Answer = getattr(client, operation)(**parameters)
        return answer

    def _client(self, service: str) -> Any:
        if client := self._clients.get(service):
            return client
        with self._lock:  # making sessions and clients is not thread-safe
            if service not in self._clients:
                from ddb_mcp.stores.direct import session as aws_session

                if self._session is None or not self._clients:
                    self._session = aws_session.session(self._role_arn, self._session_policy)
                aws_session.ready(self._session)
                self._clients[service] = aws_session.client(self._session, service)
            return self._clients[service]

    def _forget(self, service: str, used: Any) -> None:
        """Make the next call start from fresh credentials, unless another call has seen to that already."""
        with self._lock:
            if self._clients.get(service) is used:
                self._clients.clear()


async def _outcome(settled: Settled, error: DdbMcpError) -> Outcome:
    try:
        return await settled()
    except DdbMcpError as unread:
        raise _unknown(error) from unread


def _unknown(error: DdbMcpError) -> Unavailable:
    return Unavailable(
        f"The outcome is unknown: the write may have been done, or may be done yet. {error.message}",
        next="Read the item with get before you write it again. With create_only or expect, an item that is as wanted "
        "may be another's work: it is yours only if something in it is yours alone, such as an owner's id.",
    )
