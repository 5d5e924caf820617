"""The one loop of attempts, for AWS and for platforms.

A vendor's file classifies each failed attempt (`AttemptFailed`). This module alone decides what follows: repeat the
attempt, renew the credentials once, read back whether a write whose answer was lost was done, or give up.
"""

import itertools
import logging
import random
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Generic, Literal, NamedTuple, TypeVar

import anyio

from ddb_mcp.core.errors import DdbMcpError, OutcomeUnknown, Unauthenticated

BACKOFF_MAX_SECONDS = 2.0


logger = logging.getLogger(__name__)

_T = TypeVar("_T")


class RequestOutcome(IntEnum):
    """The state of the request after a failed attempt, from the best to the worst.

    NOT_DONE: it was certainly not carried out.
    ENDED: it may have been carried out, and it is not under way any more.
    LOST: it may have been carried out, or it may be carried out later.
    """

    NOT_DONE = 0
    ENDED = 1
    LOST = 2


class AttemptFailed(Exception):
    """One attempt failed.

    Args:
        error: what the caller of the operation gets if no further attempt is made.
        outcome: what is known of the request.
        retry: whether a further attempt may succeed.
        wait: seconds that the server asks to wait before it.
    """

    def __init__(self, error: DdbMcpError, outcome: RequestOutcome, *, retry: bool, wait: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.outcome = outcome
        self.retry = retry
        self.wait = wait


class RetryPolicy(NamedTuple):
    """The number of attempts of an operation, and the time between them.

    Attributes:
        attempts: the most attempts.
        seconds: no further attempt begins after this time.
        first_wait, longest_wait: seconds of the back-off, which doubles with each attempt.
    """

    attempts: int
    seconds: float
    first_wait: float
    longest_wait: float


ReadBackResult = Literal["done", "not done", "undecided"]
"""Whether the stored item shows that a write whose response was lost was done."""


class LostAnswerPolicy(NamedTuple):
    """The way to resolve a lost answer of a write.

    Attributes:
        read_back: reads the item once, strongly consistent, and says whether the write was done. None if the stored
            item cannot show this.
        repeat: whether the write may be sent again before `read_back`: only where twice is as good as once.
    """

    read_back: Callable[[], Awaitable[ReadBackResult]] | None = None
    repeat: bool = False


class Completed(NamedTuple, Generic[_T]):
    """A completed operation.

    Attributes:
        answer: None for a write that was seen done although its answer was lost.
        repeated: an earlier attempt may have done the work already.
    """

    answer: _T | None
    repeated: bool


async def run_with_retries(
    attempt: Callable[[], Awaitable[_T]],
    pace: RetryPolicy,
    *,
    renew: Callable[[], Awaitable[None]],
    write: LostAnswerPolicy | None = None,
) -> Completed[_T]:
    """Repeat `attempt` until it succeeds or cannot be repeated. Exceptions other than AttemptFailed propagate.

    Args:
        attempt: sends the request once.
        pace: when to give up.
        renew: reads the credentials again; called once, if they were refused.
        write: for a write of an item; None for what may be repeated at will.

    Raises:
        OutcomeUnknown: a write may have been done, and nothing decides whether it was.
        DdbMcpError: the error of the last attempt.
    """
    started = anyio.current_time()
    worst, renewed = RequestOutcome.NOT_DONE, False
    for number in itertools.count(1):
        try:
            return Completed(await attempt(), repeated=worst is not RequestOutcome.NOT_DONE)
        except AttemptFailed as caught:
            failed = caught
        worst = max(worst, failed.outcome)
        if isinstance(failed.error, Unauthenticated) and not renewed:
            renewed = True
            try:
                await renew()
                continue
            except DdbMcpError as error:
                failed = AttemptFailed(error, failed.outcome, retry=False)
        wait = _compute_wait(failed, pace, number)
        late = anyio.current_time() + wait - started > pace.seconds
        last = late or not failed.retry or number >= pace.attempts
        if write is not None and worst is not RequestOutcome.NOT_DONE and (last or not write.repeat):
            if await _resolve_lost_write(write, worst, failed.error):
                return Completed(None, repeated=True)
            worst = RequestOutcome.NOT_DONE
        if last:
            raise failed.error from failed.__cause__
        logger.info("%s; attempt %d follows after %.2f s", failed.error.code, number + 1, wait)
        await anyio.sleep(wait)
    raise AssertionError("the loop ends by a return or an error")


def make_outcome_unknown(error: DdbMcpError) -> OutcomeUnknown:
    """Return the error for a write that failed with `error` and may have been done."""
    if isinstance(error, OutcomeUnknown):
        return error
    return OutcomeUnknown(
        f"The outcome of the write is unknown: it may have been done, or may still be done. {error.message}",
        quoted=error.quoted,
    )


async def _resolve_lost_write(write: LostAnswerPolicy, worst: RequestOutcome, error: DdbMcpError) -> bool:
    """Return whether one read shows that a write was done. Raises OutcomeUnknown if the read does not decide it."""
    if write.read_back is None or isinstance(error, OutcomeUnknown):
        raise make_outcome_unknown(error)
    try:
        verdict = await write.read_back()
    except DdbMcpError as unread:
        raise make_outcome_unknown(error) from unread
    if verdict == "undecided" or (verdict == "not done" and worst is RequestOutcome.LOST):
        raise make_outcome_unknown(error)
    return verdict == "done"


def _compute_wait(failed: AttemptFailed, pace: RetryPolicy, number: int) -> float:
    """Return the seconds before the next attempt: what the server asks for, else a back-off with full jitter.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    if failed.wait is not None and failed.error.retryable:
        failed.error.next = f"Wait {failed.wait:.0f} s, then call again."
        return failed.wait
    return random.uniform(0, min(pace.longest_wait, pace.first_wait * 2**number))
