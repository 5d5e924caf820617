"""Every error a caller can meet, one class per code of the contract.

DdbMcpError
├── InvalidArgument      invalid_argument
├── PrefixViolation      prefix_violation
├── NotProvisioned       not_provisioned
├── ConditionFailed      condition_failed   carries the stored item if known
├── InvalidCursor        invalid_cursor
├── ReadOnly             read_only
├── Unsupported          unsupported
├── Unauthenticated      unauthenticated
├── Forbidden            forbidden
├── Throttled            throttled          retryable
├── Unavailable          unavailable        retryable
├── Timeout              timeout            retryable
├── OutcomeUnknown       outcome_unknown    a write that may or may not have been done
├── Misconfigured        misconfigured
└── Internal             internal
"""

import logging
import os
from typing import Any, ClassVar


class DdbMcpError(Exception):
    """A failure with a stable code, what is wrong, and what to do next.

    Args:
        message: names the parameter or the part that failed and what is wrong with it.
        next: what the caller should do. Always our own words.
        quoted: the words of a platform or of AWS. They are as little to be trusted as a stored item.
    """

    code: ClassVar[str]
    retryable: bool = False
    default_next: ClassVar[str] = ""

    def __init__(self, message: str, *, next: str | None = None, quoted: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.next = self.default_next if next is None else next
        self.quoted = quoted

    def to_json(self) -> dict[str, Any]:
        """Return `code`, `message`, `next`, `retryable`, `quoted` if it is set, and the code's own members."""
        said = {"code": self.code, "message": self.message, "next": self.next, "retryable": self.retryable}
        return said if self.quoted is None else {**said, "quoted": self.quoted}


class InvalidArgument(DdbMcpError):
    """An argument has the wrong shape, type, size or depth."""

    code = "invalid_argument"
    default_next = "Correct the argument and call again."


class PrefixViolation(DdbMcpError):
    """A key is outside this deployment's prefix."""

    code = "prefix_violation"


class NotProvisioned(DdbMcpError):
    """The table or the deployment does not exist yet."""

    code = "not_provisioned"
    default_next = "Call provision, then call again."


class ConditionFailed(DdbMcpError):
    """`item` is the stored item that did not satisfy the condition, None if unknown.

    A store gives it in DynamoDB JSON, the service passes it on in plain JSON. `exists` stays true if a long item is
    left out of the error later.
    """

    code = "condition_failed"
    default_next = "Read the stored item and decide again; nothing was written."

    def __init__(
        self, message: str, *, item: dict[str, Any] | None = None, next: str | None = None, quoted: str | None = None
    ) -> None:
        super().__init__(message, next=next, quoted=quoted)
        self.item = item
        self.exists = item is not None

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | ({} if self.item is None else {"item": self.item})


class InvalidCursor(DdbMcpError):
    """A cursor is forged, damaged, from another call, or from before a restart."""

    code = "invalid_cursor"
    default_next = "Start the listing again without a cursor."


class ReadOnly(DdbMcpError):
    """A write where writes are switched off."""

    code = "read_only"
    default_next = (
        "If the user wants this write, they can start the server without --read-only or use a token that may write."
    )


class Unsupported(DdbMcpError):
    """The platform or engine lacks the requested feature. Nothing was sent to a platform."""

    code = "unsupported"


class Unauthenticated(DdbMcpError):
    """Credentials are missing, expired or refused."""

    code = "unauthenticated"


class Forbidden(DdbMcpError):
    """The credentials are valid but lack the permission."""

    code = "forbidden"


class Throttled(DdbMcpError):
    """The store throttled the request, even after retries."""

    code = "throttled"
    retryable = True
    default_next = "Wait a few seconds, then call again."


class Unavailable(DdbMcpError):
    """The store cannot be reached or failed, even after retries."""

    code = "unavailable"
    retryable = True
    default_next = "Call again in a few seconds."


class Timeout(DdbMcpError):
    """The store did not respond in time, even after retries."""

    code = "timeout"
    retryable = True
    default_next = "Call again. If it times out again, request less."


class OutcomeUnknown(DdbMcpError):
    """The answer to a write was lost, and one consistent read does not settle whether the write was done."""

    code = "outcome_unknown"
    default_next = (
        "Get the item before you write it again. With create_only or expect, another client may have written an item "
        "that looks right: it is yours only if it holds a value that no other client writes, such as an owner's id."
    )


class Misconfigured(DdbMcpError):
    """A setting, an address, a file or the schema of a table is wrong."""

    code = "misconfigured"


class Internal(DdbMcpError):
    """A bug of ours. See `log`."""

    code = "internal"
    default_next = "Report this id to the maintainers; the server's stderr has the details."

    @classmethod
    def log(cls, logger: logging.Logger, failure: Exception, operation: str) -> "Internal":
        """Log a bug of ours, and return an error whose message has the id of the log entry."""
        number = os.urandom(4).hex()
        logger.error("Internal error %s in %s", number, operation, exc_info=failure)
        return cls(f"Internal error {number}.")
