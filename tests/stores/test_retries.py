"""The one loop of attempts, whoever is at the other end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from ddb_mcp.core.errors import DdbMcpError, Internal, OutcomeUnknown, Throttled, Unauthenticated, Unavailable
from ddb_mcp.stores.retries import (
    AttemptFailed,
    Completed,
    LostAnswerPolicy,
    ReadBackResult,
    RequestOutcome,
    RetryPolicy,
    run_with_retries,
)

PACE = RetryPolicy(attempts=4, seconds=60, first_wait=0, longest_wait=0)
NOT_DONE, ENDED, LOST = RequestOutcome


class Server:
    """Fails as it is told to, then answers; tells what it was asked."""

    def __init__(self, *failures: AttemptFailed, seen: Sequence[ReadBackResult | DdbMcpError] = ()) -> None:
        self.failures = list(failures)
        self.seen = list(seen)
        self.asked = self.looks = self.renewals = 0

    async def attempt(self) -> str:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return "answer"

    async def read_back(self) -> ReadBackResult:
        self.looks += 1
        seen = self.seen.pop(0)
        if isinstance(seen, DdbMcpError):
            raise seen
        return seen

    async def renew(self) -> None:
        self.renewals += 1

    def complete(self, write: LostAnswerPolicy | None = None, pace: RetryPolicy = PACE) -> Completed[str]:
        async def run() -> Completed[str]:
            return await run_with_retries(self.attempt, pace, renew=self.renew, write=write)

        return anyio.run(run)


def failed(outcome: RequestOutcome, error: DdbMcpError | None = None, **more: Any) -> AttemptFailed:
    return AttemptFailed(error or Unavailable("down"), outcome, **({"retry": True} | more))


@pytest.mark.parametrize("outcome", RequestOutcome)
def test_a_read_is_repeated_whatever_became_of_it(outcome: RequestOutcome) -> None:
    server = Server(*[failed(outcome) for _ in range(3)])
    assert server.complete() == Completed("answer", repeated=outcome is not NOT_DONE)
    server = Server(*[failed(outcome) for _ in range(4)])
    with pytest.raises(Unavailable, match="down"):
        server.complete()
    assert server.asked == 4


def test_what_is_not_to_be_repeated_is_raised() -> None:
    server = Server(failed(NOT_DONE, Internal("a bug"), retry=False))
    with pytest.raises(Internal):
        server.complete()
    assert server.asked == 1


@pytest.mark.parametrize("repeat", [False, True])
def test_a_write_that_was_surely_not_done_is_repeated_without_a_look(repeat: bool) -> None:
    server = Server(failed(NOT_DONE), failed(NOT_DONE))
    assert server.complete(LostAnswerPolicy(server.read_back, repeat)) == Completed("answer", repeated=False)
    assert (server.asked, server.looks) == (3, 0)


@pytest.mark.parametrize(
    ("outcome", "seen", "asked", "expected"),
    [
        (ENDED, "done", 1, Completed(None, repeated=True)),
        (LOST, "done", 1, Completed(None, repeated=True)),
        (ENDED, "not done", 2, Completed("answer", repeated=False)),
        (LOST, "not done", 1, None),
        (ENDED, "undecided", 1, None),
        (LOST, "undecided", 1, None),
        (ENDED, Throttled("no"), 1, None),
    ],
    ids=str,
)
def test_one_look_settles_a_lost_write_or_nothing_does(
    outcome: RequestOutcome, seen: ReadBackResult | DdbMcpError, asked: int, expected: Completed[str] | None
) -> None:
    server = Server(failed(outcome), seen=[seen])
    if expected is None:
        with pytest.raises(OutcomeUnknown):
            server.complete(LostAnswerPolicy(server.read_back))
    else:
        assert server.complete(LostAnswerPolicy(server.read_back)) == expected
    assert (server.asked, server.looks) == (asked, 1)


def test_a_write_that_nothing_can_settle_is_sent_once() -> None:
    server = Server(failed(LOST, Unavailable("broke", quoted="their words")))
    with pytest.raises(OutcomeUnknown) as caught:
        server.complete(LostAnswerPolicy())
    assert (server.asked, caught.value.retryable, caught.value.quoted) == (1, False, "their words")


def test_a_write_that_may_be_sent_twice_is_looked_for_at_the_end_only() -> None:
    server = Server(failed(LOST), failed(LOST))
    assert server.complete(LostAnswerPolicy(server.read_back, repeat=True)) == Completed("answer", repeated=True)
    assert server.looks == 0
    server = Server(failed(LOST), *[failed(NOT_DONE, Throttled("busy")) for _ in range(3)], seen=["done"])
    assert server.complete(LostAnswerPolicy(server.read_back, repeat=True)) == Completed(None, repeated=True)
    server = Server(failed(LOST), *[failed(NOT_DONE, Throttled("busy")) for _ in range(3)], seen=["not done"])
    with pytest.raises(OutcomeUnknown, match="busy"):
        server.complete(LostAnswerPolicy(server.read_back, repeat=True))


def test_the_other_side_s_own_word_that_it_cannot_tell_is_passed_on() -> None:
    server = Server(failed(LOST, OutcomeUnknown("their look decided nothing"), retry=False))
    with pytest.raises(OutcomeUnknown, match=r"^their look decided nothing$"):
        server.complete(LostAnswerPolicy(server.read_back, repeat=True))
    assert server.looks == 0


def test_credentials_are_renewed_once() -> None:
    refused = [failed(NOT_DONE, Unauthenticated("expired"), retry=False) for _ in range(2)]
    server = Server(refused[0])
    assert server.complete() == Completed("answer", repeated=False)
    server = Server(*refused)
    with pytest.raises(Unauthenticated):
        server.complete()
    assert (server.asked, server.renewals) == (2, 1)


def test_a_renewal_that_fails_hides_no_lost_write() -> None:
    class Expired(Server):
        async def renew(self) -> None:
            raise Unauthenticated("log in again")

    server = Expired(failed(LOST), failed(NOT_DONE, Unauthenticated("expired")), seen=["not done"])
    with pytest.raises(OutcomeUnknown, match="log in again"):
        server.complete(LostAnswerPolicy(server.read_back, repeat=True))


def test_no_attempt_begins_after_the_time() -> None:
    server = Server(failed(NOT_DONE, Throttled("busy"), wait=30))
    with pytest.raises(Throttled) as caught:
        server.complete(pace=RetryPolicy(attempts=4, seconds=20, first_wait=0, longest_wait=0))
    assert server.asked == 1
    assert caught.value.next == "Wait 30 s, then call again."
