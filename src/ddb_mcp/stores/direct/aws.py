"""Calls to AWS: one client a service for the life of the server, in worker threads, with retries of our own.

botocore repeats a request whose answer was lost. A repeated conditional write would meet the result of
the first one, and a success would be reported as a failed condition. So botocore makes one attempt here, and `retries`
repeats. Between attempts no thread is occupied, and a call can be cancelled.
"""

import threading
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from ddb_mcp.core.errors import DdbMcpError, Timeout
from ddb_mcp.stores.direct.session import AWS_CONNECTIONS
from ddb_mcp.stores.retries import (
    BACKOFF_MAX_SECONDS,
    AttemptFailed,
    LostAnswerPolicy,
    RequestOutcome,
    RetryPolicy,
    make_outcome_unknown,
    run_with_retries,
)

if TYPE_CHECKING:
    from ddb_mcp.stores.direct.session import AwsSession

AWS_ATTEMPTS = 7
# No attempt begins after this time.
AWS_LAST_ATTEMPT_SECONDS = 12.0
# Only a program that gives credentials can make one attempt take longer.
AWS_STUCK_SECONDS = 30.0
BACKOFF_SECONDS = 0.05


Response = dict[str, Any]


class ExpectedError(Exception):
    """An error code that the caller of `AwsClients.request` handles, with AWS's message and the whole response."""

    def __init__(self, code: str, response: Response) -> None:
        super().__init__(code)
        self.code = code
        self.message = str(response.get("Error", {}).get("Message", ""))
        self.response = response


class AwsClients:
    """The clients of one server, made on first use from AWS's own chain of credentials and regions.

    Args:
        table: named in errors.
        role_arn: a role to assume instead of using the credentials as they are.
        session_policy: an IAM policy that limits that role further.

    Attributes:
        region: the region that the clients talk to; empty before the first call.
    """

    def __init__(self, table: str, role_arn: str | None, session_policy: dict[str, Any]) -> None:
        self._table = table
        self._role_arn = role_arn
        self._session_policy = session_policy
        self._session: AwsSession | None = None
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.region = ""
        self._threads = anyio.CapacityLimiter(AWS_CONNECTIONS)

    async def request(
        self,
        service: str,
        operation: str,
        *,
        write: LostAnswerPolicy | None = None,
        expected: Collection[str] = (),
        **parameters: Any,
    ) -> Response:
        """Carry out one operation of a service.

        Args:
            service: `dynamodb` or `lambda`.
            operation: the client's method, for example `get_item`.
            write: for a write of an item, how a lost answer is resolved.
            expected: error codes to raise as `ExpectedError`.
            parameters: the operation's own.

        Returns:
            The response; an empty one for a write that was seen done although its answer was lost.

        Raises:
            ExpectedError: for `expected` codes.
            OutcomeUnknown: a write may have been done, and nothing decides whether it was.
            DdbMcpError: for everything else, after bounded retries.
        """
        used: Any = None
        is_sent = False

        def send() -> Response:
            nonlocal is_sent
            client = self._get_client(service)
            is_sent = True
            response: Response = getattr(client, operation)(**parameters)
            return response

        async def attempt() -> Response:
            nonlocal used, is_sent
            used, is_sent = self._clients.get(service), False
            try:
                with anyio.move_on_after(AWS_STUCK_SECONDS):
                    return await anyio.to_thread.run_sync(send, abandon_on_cancel=True, limiter=self._threads)
            except Exception as failure:
                raise self._classify(failure, service, operation, expected, sent=is_sent) from failure
            raise _make_stuck_error(write)

        async def renew() -> None:
            # Other programs renew credentials in files while a server runs.
            self._discard_clients(service, used)

        pace = RetryPolicy(AWS_ATTEMPTS, AWS_LAST_ATTEMPT_SECONDS, BACKOFF_SECONDS, BACKOFF_MAX_SECONDS)
        return (await run_with_retries(attempt, pace, renew=renew, write=write)).answer or {}

    def _classify(
        self, failure: Exception, service: str, operation: str, expected: Collection[str], *, sent: bool
    ) -> ExpectedError | AttemptFailed:
        """Return the exception that a failed attempt becomes. Raises `failure` itself if it is a bug."""
        from ddb_mcp.stores.direct import errors

        request = errors.FailedRequest(service, operation.title().replace("_", ""), self._table, self._session)
        code = errors.get_code(failure, request.operation)
        if code in expected:
            return ExpectedError(code, failure.response)  # type: ignore[attr-defined]
        error = errors.to_error(failure, request)
        outcome = errors.classify_outcome(failure, request.operation) if sent else RequestOutcome.NOT_DONE
        return AttemptFailed(error, outcome, retry=error.retryable)

    def close(self) -> None:
        """Close the clients."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def _get_client(self, service: str) -> Any:
        """Return the client of a service, with credentials that can be used now. Raises botocore's errors."""
        from ddb_mcp.stores.direct import session as aws_session

        if client := self._clients.get(service):
            aws_session.load_credentials(self._session)
            return client
        with self._lock:  # making sessions and clients is not thread-safe
            if service not in self._clients:
                if self._session is None or not self._clients:
                    self._session = aws_session.make_session(self._role_arn, self._session_policy)
                aws_session.load_credentials(self._session)
                self._clients[service] = aws_session.make_client(self._session, service)
                self.region = str(self._clients[service].meta.region_name)
            return self._clients[service]

    def _discard_clients(self, service: str, used: Any) -> None:
        """Make the next call start from fresh credentials, unless another call has done so already."""
        with self._lock:
            if self._clients.get(service) is used:
                self._clients.clear()


def _make_stuck_error(write: LostAnswerPolicy | None) -> DdbMcpError:
    """Return the error for a thread that does not come back. It may still send its request."""
    stuck = Timeout(
        f"Neither AWS nor the source of its credentials answered within {AWS_STUCK_SECONDS:g} s.",
        next="If AWS_PROFILE has a credential_process, run it in a terminal and fix it. Then restart the server.",
    )
    return stuck if write is None else make_outcome_unknown(stuck)
