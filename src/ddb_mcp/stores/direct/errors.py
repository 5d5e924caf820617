"""Maps each failure of botocore to one of our errors, in our words. Imported when something has failed.

AWS's own words are never part of a message: where they help, they are `quoted`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore import exceptions as aws
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from ddb_mcp.config.values import is_loopback
from ddb_mcp.core.errors import (
    DdbMcpError,
    Forbidden,
    Internal,
    InvalidArgument,
    Misconfigured,
    NotProvisioned,
    Throttled,
    Timeout,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from ddb_mcp.stores import tls
from ddb_mcp.stores.direct import codes
from ddb_mcp.stores.direct.session import AWS_READ_SECONDS, AwsSession, is_invalid_url
from ddb_mcp.stores.retries import RequestOutcome

_SERVICES = {"dynamodb": "DynamoDB", "lambda": "Lambda"}
_RENEW = {
    "env": "Set fresh AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and restart the server.",
    "sso": "Run `aws sso login --profile {request.profile}`, then call again.",
    "login": "Run `aws login --profile {request.profile}`, then call again.",
    "mfa": "Run `aws sts get-caller-identity --profile {request.profile}` and enter the code there, then call again: "
    "the server uses the session that the AWS CLI caches.",
}
"""Advice how to renew credentials, by botocore's word for their source."""
_RENEW_OTHERS = (
    "Renew the credentials of AWS profile {request.profile}{request.source}, for example with `aws sso login --profile "
    "{request.profile}` or `aws configure`; or set AWS_PROFILE to another profile, or both AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY. Check credential_process, AWS_CONTAINER_CREDENTIALS_FULL_URI and "
    "AWS_WEB_IDENTITY_TOKEN_FILE if one is set. Then call again."
)
_QUOTED_MAX = 300


class FailedRequest(NamedTuple):
    """A request to AWS, and the session with its credentials.

    Attributes:
        service: `dynamodb` or `lambda`.
        operation: the operation as AWS names it, for example `GetItem`.
        table: the table's name.
        session: None if it could not be made.
    """

    service: str
    operation: str
    table: str
    session: AwsSession | None

    @property
    def name(self) -> str:
        """Return the service as people name it."""
        return _SERVICES[self.service]

    @property
    def variable(self) -> str:
        """Return the variable that has the service's address."""
        return f"AWS_ENDPOINT_URL_{self.service.upper()}"

    @property
    def check_endpoint(self) -> str:
        """Return what to do if the endpoint does not answer as it should."""
        return f"Check the network, the region and {self.variable}, then call again."

    @property
    def profile(self) -> str:
        """Return the AWS profile whose credentials a person renews."""
        return (self.session and self.session.source.profile) or "default"

    @property
    def source(self) -> str:
        """Return where the credentials come from, as part of a sentence; empty if unknown."""
        return f", whose source is {self.session.method}" if self.session and self.session.method else ""

    @property
    def renewal(self) -> str:
        """Return what a person does to renew the credentials."""
        return _RENEW.get(self.session.method if self.session else "", _RENEW_OTHERS).format(request=self)


def get_code(failure: Exception, operation: str) -> str:
    """Return AWS's error code for the operation, or the HTTP status if the answer has no code.

    Returns "" if there is no answer, or one to a request that the credentials needed (AssumeRole).
    """
    if not isinstance(failure, ClientError) or failure.operation_name != operation:
        return ""
    return _get_error_code(failure)


def _get_error_code(failure: ClientError) -> str:
    return str(failure.response.get("Error", {}).get("Code", ""))


def classify_outcome(failure: Exception, operation: str) -> RequestOutcome:
    """Return the outcome of the request that failed. `operation` is AWS's name for it.

    DynamoDB says of its 5xx answers that the write may have been done; the request is over then:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
    A 5xx without DynamoDB's code is a proxy's, behind which the request may still be under way.
    """
    match failure:
        case ClientError():
            if failure.operation_name != operation or not _ErrorResponse.of(failure).is_server_fault:
                return RequestOutcome.NOT_DONE
            return RequestOutcome.LOST if _get_error_code(failure).isdigit() else RequestOutcome.ENDED
        case aws.SSLError() | aws.HTTPClientError():
            return RequestOutcome.LOST if _unsendable(failure) is None else RequestOutcome.NOT_DONE
        case aws.IncompleteReadError() | ResponseParserError():
            return RequestOutcome.LOST
    return RequestOutcome.NOT_DONE


@dataclass(frozen=True)
class _Rule:
    """Our error for a kind of failure. Its texts are format strings with `failure`, `request` and `found`."""

    error: type[DdbMcpError]
    message: str
    next: str | None = None

    def __call__(self, failure: Any, request: FailedRequest, found: re.Match[str] | None = None) -> DdbMcpError:
        words = {"failure": failure, "request": request, "found": found}
        return self.error(self.message.format(**words), next=self.next and self.next.format(**words))


def to_error(failure: Exception, request: FailedRequest) -> DdbMcpError:
    """Return our error for `failure`. Raises `failure` itself if it is neither botocore's nor ours: a bug."""
    match failure:
        case DdbMcpError():
            return failure
        case ClientError():
            return _map_response(_ErrorResponse.of(failure), request)
        case BotoCoreError():
            rules = (rule for kinds, rule in _BY_KIND if isinstance(failure, kinds))
            return _unsendable(failure) or next(rules)(failure, request)
        case ResponseParserError():
            return _NOT_AN_ANSWER(failure, request)
        case ValueError() if is_invalid_url(failure):
            return _NO_URL(failure, request)
    raise failure


_NOT_AN_ANSWER = _Rule(
    Unavailable, "{request.operation} got an answer that is not {request.name}'s.", "{request.check_endpoint}"
)
_NO_URL = _Rule(
    Misconfigured,
    "The endpoint for AWS is not a URL.",
    "Set {request.variable} to a full URL such as http://localhost:8000, or unset it.",
)


# Answers


class _ErrorResponse(NamedTuple):
    """An error response. `operation` is AssumeRole, not the requested operation, if the role was refused."""

    code: str
    status: int
    message: str
    operation: str

    @classmethod
    def of(cls, failure: ClientError) -> "_ErrorResponse":
        response = failure.response
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return cls(
            _get_error_code(failure), status, response.get("Error", {}).get("Message", ""), failure.operation_name
        )

    @property
    def is_throttled(self) -> bool:
        return self.code in codes.THROTTLED or self.status == 429

    @property
    def is_server_fault(self) -> bool:
        faulty = self.status >= 500 or self.status in (408, 421)
        return faulty and not self.is_throttled

    @property
    def quoted(self) -> str | None:
        """Return the first sentence of the message: what follows may quote what was sent."""
        return " ".join(self.message.split()).partition(". ")[0][:_QUOTED_MAX] or None


def _map_response(refusal: _ErrorResponse, request: FailedRequest) -> DdbMcpError:
    if refusal.is_throttled:
        return Throttled(f"{refusal.operation} was throttled.")
    if refusal.is_server_fault:
        return Unavailable(f"{refusal.operation} failed on the service's side (HTTP {refusal.status}).")
    rule = _BY_CODE.get(refusal.code)
    if rule is None:
        rule = _NOT_AWS if refusal.code.isdigit() else _BY_STATUS.get(refusal.status, _map_unknown_code)
    return rule(refusal, request)


def _map_unknown_code(refusal: _ErrorResponse, request: FailedRequest) -> DdbMcpError:
    """Return the default for a code that is in no table, for example one that AWS has added since."""
    return Internal(
        f"{request.name} refused {refusal.operation} with an error that this version of ddb-mcp does not know.",
        next="Upgrade ddb-mcp, or report the error's code to the maintainers.",
        quoted=refusal.code[:_QUOTED_MAX],
    )


def _map_access_denied(refusal: _ErrorResponse, request: FailedRequest) -> DdbMcpError:
    named = re.search(r"perform: ([a-z0-9-]+:[A-Za-z]+)", refusal.message)
    service = "sts" if refusal.operation == "AssumeRole" else request.service
    return Forbidden(
        "These AWS credentials may not do this: the permission "
        f"{named[1] if named else f'{service}:{refusal.operation}'} is missing.",
        next="Ask the account's administrator for it; `ddb-mcp policy` prints the policy that is required.",
    )


def _map_not_found(refusal: _ErrorResponse, request: FailedRequest) -> DdbMcpError:
    if request.service == "lambda":
        return NotProvisioned(
            "The function does not exist in this account and region.", next="Correct DDB_MCP_LAMBDA_FUNCTIONS."
        )
    return NotProvisioned(f"The table {request.table!r} does not exist in this account and region.")


def _map_invalid_request(refusal: _ErrorResponse, request: FailedRequest) -> DdbMcpError:
    """Map a code that DynamoDB has for every invalid request. Only the message says what is wrong."""
    for pattern, rule in _INVALID_REQUESTS:
        if found := re.search(pattern, refusal.message, re.I):
            return rule(refusal, request, found)
    return InvalidArgument(
        f"{request.name} rejected the {refusal.operation} request as invalid.", quoted=refusal.quoted
    )


_INVALID_REQUESTS = (
    (
        r"Index Key:? (\S+) Expected: (\w+) Actual: (\w+) IndexName: (\S+)",
        _Rule(
            InvalidArgument,
            "{found[1]} is a key of the table's index {found[4]}, and must be of type {found[2]}, not {found[3]}.",
            "Give {found[1]} that type, or leave it out.",
        ),
    ),
    (
        "key element does not match the schema|missing the key|type mismatch for key |missed key schema element"
        "|key condition not supported|condition parameter type does not match",
        _Rule(
            Misconfigured,
            "The table {request.table!r} has another key schema.",
            "Set DYNAMODB_TABLE to a table with partition key pk and sort key sk, both strings.",
        ),
    ),
    (
        "item size",
        _Rule(InvalidArgument, "The item would be over DynamoDB's limit of 400 KB.", "Split it over several keys."),
    ),
)
"""By a pattern in the message."""
_NOT_AWS = _Rule(
    Misconfigured,
    "The server at the endpoint is not {request.name} (HTTP {failure.code}).",
    "Is {request.variable} right, with the endpoint's own scheme, http:// or https://?",
)
_UNKNOWN_KEY = _Rule(Unauthenticated, "AWS does not recognize these credentials.", "{request.renewal}")
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html and the pages of the operations
_ANSWERS: dict[str, Callable[[_ErrorResponse, FailedRequest], DdbMcpError]] = {
    "ExpiredToken ExpiredTokenException RequestExpired": _Rule(
        Unauthenticated, "The AWS session has expired.", "{request.renewal}"
    ),
    "InvalidAccessKeyId InvalidClientTokenId MissingAuthenticationToken MissingAuthenticationTokenException "
    "UnauthorizedException UnrecognizedClientException": _UNKNOWN_KEY,
    "IncompleteSignature IncompleteSignatureException InvalidSignatureException SignatureDoesNotMatch": _Rule(
        Unauthenticated,
        "AWS refused the signature: the secret key does not match the access key, or this machine's clock is wrong.",
        "Check the clock. {request.renewal}",
    ),
    " ".join(codes.ACCESS_DENIED): _map_access_denied,
    "OptInRequired RegionDisabledException SubscriptionRequiredException": _Rule(
        Forbidden, "The AWS account may not use this service or region.", "Check the region and the account."
    ),
    "MalformedPolicyDocument MalformedPolicyDocumentException PackedPolicyTooLarge PackedPolicyTooLargeException "
    "ValidationError": _Rule(
        Misconfigured,
        "AWS rejected the request for the role, or its session policy, as invalid.",
        "Check DDB_MCP_ROLE_ARN or the role in the AWS profile, DYNAMODB_PREFIX and DDB_MCP_LAMBDA_FUNCTIONS; "
        "`ddb-mcp policy` prints the policy.",
    ),
    "LimitExceededException ReplicatedWriteConflictException ResourceConflictException ResourceInUseException "
    "TransactionConflictException": _Rule(
        Unavailable, "{failure.operation} met another change that is in progress, or a quota of the AWS account."
    ),
    "InvalidAction NotImplemented UnknownOperation UnknownOperationException UnsupportedOperationException": _Rule(
        Unsupported,
        "The server at the endpoint does not support {failure.operation}.",
        "Use an engine that supports it.",
    ),
    "ValidationException InvalidParameterValueException": _map_invalid_request,
    "ResourceNotFoundException": _map_not_found,
    "ItemCollectionSizeLimitExceededException": _Rule(
        InvalidArgument, "The partition is full: in a table with a local index, one pk holds at most 10 GB."
    ),
}
_BY_CODE = {code: rule for row, rule in _ANSWERS.items() for code in row.split()}
_BY_STATUS: dict[int, Callable[[_ErrorResponse, FailedRequest], DdbMcpError]] = {
    401: _UNKNOWN_KEY,
    403: _map_access_denied,
}


# No answer


def _unsendable(failure: BotoCoreError) -> Misconfigured | None:
    """Return the error if the settings kept the request from being sent; None if it may have been sent."""
    error = failure.kwargs.get("error")
    text = f"{failure} {error}"
    if tls.is_untrusted_certificate(text):
        return Misconfigured(
            "The TLS certificate of the endpoint is not trusted here.",
            next="Set AWS_CA_BUNDLE to the certificates that your network's proxy uses, or correct the endpoint.",
        )
    if isinstance(failure, aws.SSLError) and tls.is_plain_http(text):
        return Misconfigured(
            "The server at the endpoint does not speak TLS.", next="Is it http:// instead of https://?"
        )
    reason = error.args[0] if isinstance(error, Exception) and error.args else None
    bundle = isinstance(failure, aws.SSLError) and (
        isinstance(reason, FileNotFoundError | IsADirectoryError | PermissionError)
        or getattr(reason, "library", None) in ("X509", "PEM", "ASN1")
    )
    if bundle or isinstance(error, ValueError):  # no URL, or a credential with a character that no header carries
        return Misconfigured(
            "The AWS settings do not make a valid request.",
            next="Check AWS_CA_BUNDLE, the AWS_ENDPOINT_URL variables, HTTP_PROXY and HTTPS_PROXY, and whether "
            "AWS_ACCESS_KEY_ID or AWS_SESSION_TOKEN holds the end of a line.",
        )
    return None


def _map_unreachable(failure: BotoCoreError, request: FailedRequest) -> DdbMcpError:
    url = str(failure.kwargs.get("endpoint_url"))
    parts = urlsplit(url)
    if is_loopback(parts.hostname or ""):
        return Unavailable(
            f"Nothing listens at {parts.scheme}://{parts.netloc}: the engine is not running.",
            next=f"Start it, or correct {request.variable}. `ddb-mcp endpoint` serves the local mode's file there; "
            "other engines have commands of their own.",
        )
    return Unavailable(f"{request.operation} cannot reach the endpoint.", next=request.check_endpoint)


# The first match applies: a class is listed before its base classes. By name, because older versions of botocore
# lack some of them.
_KINDS: dict[str, Callable[[BotoCoreError, FailedRequest], DdbMcpError]] = {
    "ReadTimeoutError ConnectTimeoutError": _Rule(
        Timeout, f"{{request.operation}} got no answer within {AWS_READ_SECONDS:g} s.", "{request.check_endpoint}"
    ),
    "ProxyConnectionError": _Rule(Unavailable, "The HTTP proxy cannot be reached.", "Check HTTPS_PROXY and NO_PROXY."),
    "EndpointConnectionError": _map_unreachable,
    "ConnectionError HTTPClientError IncompleteReadError ChecksumError FlexibleChecksumError": _Rule(
        Unavailable, "{request.operation}: the connection broke before the answer was complete.", tls.BROKEN_NEXT
    ),
    "NoCredentialsError PartialCredentialsError": _Rule(
        Unauthenticated, "There are no AWS credentials, or the key or its secret is missing.", "{request.renewal}"
    ),
    "SSOError TokenRetrievalError NoAuthTokenError": _Rule(
        Unauthenticated, "The AWS SSO session has expired, or there is none.", _RENEW["sso"]
    ),
    "LoginError": _Rule(Unauthenticated, "The AWS login has expired, or there is none.", _RENEW["login"]),
    "RefreshWithMFAUnsupportedError": _Rule(
        Unauthenticated, "The AWS profile requires an MFA code, which this server cannot ask for.", _RENEW["mfa"]
    ),
    "CredentialRetrievalError MetadataRetrievalError": _Rule(
        Unauthenticated, "The AWS credentials could not be obtained.", "{request.renewal}"
    ),
    "ProfileNotFound": _Rule(
        Misconfigured,
        "AWS_PROFILE names an AWS profile that does not exist.",
        "Set AWS_PROFILE to a profile that `aws configure list-profiles` shows.",
    ),
    "NoRegionError BaseEndpointResolverError EndpointProviderError InvalidRegionError UnknownRegionError": _Rule(
        Misconfigured,
        "No AWS region is configured, or it does not exist.",
        "Set AWS_REGION or AWS_DEFAULT_REGION, or `region` in the AWS profile.",
    ),
    "BotoCoreError": _Rule(
        Misconfigured,
        "The AWS configuration cannot be used.",
        "Check the AWS_* variables and the files ~/.aws/config and ~/.aws/credentials.",
    ),
}
_BY_KIND = [
    (tuple(getattr(aws, name) for name in row.split() if hasattr(aws, name)), rule) for row, rule in _KINDS.items()
]
