"""DynamoDB's errors: a type, a status and a message.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""

from typing import Any

from ddb_mcp.core.errors import DdbMcpError, InvalidArgument, Timeout, Unavailable
from ddb_mcp.stores.local.file import FileLocked

_SERVICE = "com.amazonaws.dynamodb.v20120810"
# Errors common to all AWS services have other namespaces.
_SHARED = ("Serialization", "UnknownOperation", "AccessDenied", "MissingAuthenticationToken", "IncompleteSignature")
_NAMESPACES = {f"{kind}Exception": "com.amazon.coral.service" for kind in (*_SHARED, "RequestEntityTooLarge")}
_NAMESPACES["ValidationException"] = "com.amazon.coral.validate"


class EndpointError(Exception):
    """An error response.

    Args:
        kind: the error type, such as `ValidationException`.
        message: the error message.
        status: the HTTP status.
        members: further members of the body.
    """

    def __init__(self, kind: str, message: str, status: int = 400, **members: Any) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.members = members

    def body(self) -> dict[str, Any]:
        """Return the response body."""
        namespace = _NAMESPACES.get(self.kind, _SERVICE)
        return {"__type": f"{namespace}#{self.kind}", "message": self.message, **self.members}


class KeySchemaError(EndpointError):
    """A key does not match the table's schema. A missing table is reported instead."""

    def __init__(self, message: str, kind: str = "ValidationException", **members: Any) -> None:
        super().__init__(kind, message, **members)


class KeyValueError(KeySchemaError):
    """A key value is empty or too long. It fails a transaction at once; other wrong keys cancel it."""


def make_validation_error(message: str) -> EndpointError:
    """Return the error for invalid values."""
    return EndpointError("ValidationException", message)


def require_valid(fits: bool, message: str) -> None:
    """Raise EndpointError with this message unless the condition holds."""
    if not fits:
        raise make_validation_error(message)


def make_serialization_error(message: str) -> EndpointError:
    """Return the error for a body that is not JSON or has values of the wrong type."""
    return EndpointError("SerializationException", message)


def translate_error(error: EndpointError | DdbMcpError) -> EndpointError:
    """Map errors of the store and of expressions to DynamoDB's."""
    if isinstance(error, EndpointError):
        return error
    if isinstance(error, InvalidArgument):
        return make_validation_error(error.message)
    if isinstance(error, FileLocked | Timeout):  # nothing was written, and SDKs retry
        return EndpointError("ThrottlingException", error.message)
    status = 503 if isinstance(error, Unavailable) else 500
    return EndpointError("InternalServerError", f"{error.message} {error.next}", status)
