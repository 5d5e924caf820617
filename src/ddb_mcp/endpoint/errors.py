"""DynamoDB's errors, as SDKs know them: a type, a status and a message.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""

from typing import Any

from ddb_mcp.core.errors import DdbMcpError, InvalidArgument, Timeout, Unavailable
from ddb_mcp.stores.local.file import Locked

_SERVICE = "com.amazonaws.dynamodb.v20120810"
# Errors of the layer that all services of AWS share have other namespaces.
_SHARED = ("Serialization", "UnknownOperation", "AccessDenied", "MissingAuthenticationToken", "IncompleteSignature")
_NAMESPACES = {f"{kind}Exception": "com.amazon.coral.service" for kind in (*_SHARED, "RequestEntityTooLarge")}
_NAMESPACES["ValidationException"] = "com.amazon.coral.validate"


class EndpointError(Exception):
    """A request that is answered with an error.

    Args:
        kind: the type, such as `ValidationException`.
        message: what is wrong.
        status: of the answer.
        members: what the answer has besides type and message.
    """

    def __init__(self, kind: str, message: str, status: int = 400, **members: Any) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.members = members

    def body(self) -> dict[str, Any]:
        """The answer's body."""
        namespace = _NAMESPACES.get(self.kind, _SERVICE)
        return {"__type": f"{namespace}#{self.kind}", "message": self.message, **self.members}


class KeySchemaError(EndpointError):
    """A key that does not fit the table's. A missing table is reported first."""

    def __init__(self, message: str, kind: str = "ValidationException", **members: Any) -> None:
        super().__init__(kind, message, **members)


class KeyValueError(KeySchemaError):
    """A key value that is empty or too long. It fails a transaction at once; other wrong keys cancel it."""


def make_validation_error(message: str) -> EndpointError:
    """The error of a request whose values are wrong."""
    return EndpointError("ValidationException", message)


def require_valid(fits: bool, message: str) -> None:
    """Raise EndpointError with this message unless a request fits."""
    if not fits:
        raise make_validation_error(message)


def make_serialization_error(message: str) -> EndpointError:
    """The error of a body that is not JSON of the right types."""
    return EndpointError("SerializationException", message)


def translate_error(error: EndpointError | DdbMcpError) -> EndpointError:
    """Return an error as SDKs know it. Errors of the store and of expressions are DdbMcpErrors."""
    if isinstance(error, EndpointError):
        return error
    if isinstance(error, InvalidArgument):
        return make_validation_error(error.message)
    if isinstance(error, Locked | Timeout):  # nothing was done; SDKs call again by themselves
        return EndpointError("ThrottlingException", error.message)
    status = 503 if isinstance(error, Unavailable) else 500
    return EndpointError("InternalServerError", f"{error.message} {error.next}", status)
