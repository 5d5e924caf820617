"""Every failure of botocore as one of our errors, in our words. Imported when something has failed."""

import re
from typing import Any, Literal

from botocore.exceptions import (
    BaseEndpointResolverError,
    BotoCoreError,
    ChecksumError,
    ClientError,
    ConnectionError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    EndpointProviderError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    InvalidRegionError,
    LoginError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    ReadTimeoutError,
    RefreshWithMFAUnsupportedError,
    SSLError,
    SSOError,
    TokenRetrievalError,
    UnknownRegionError,
)
from botocore.parsers import ResponseParserError
from botocore.session import Session

from ddb_mcp.errors import (
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
from ddb_mcp.stores import aws
from ddb_mcp.stores.aws_session import RoleSession

_THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_SERVER_FAULT = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "ServiceException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
    }
)
_BUSY = frozenset(
    {
        "LimitExceededException",
        "ReplicatedWriteConflictException",
        "ResourceConflictException",
        "ResourceInUseException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
_NOT_KNOWN = frozenset(
    {
        "AuthFailure",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "UnauthorizedException",
        "UnrecognizedClientException",
    }
)
_SIGNATURE = frozenset(
    {
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "ForbiddenException", "NotAuthorized", "UnauthorizedOperation"}
)
_NO_ACCOUNT = frozenset({"OptInRequired", "RegionDisabledException", "SubscriptionRequiredException"})
_POLICY = frozenset(
    {
        "MalformedPolicyDocument",
        "MalformedPolicyDocumentException",
        "PackedPolicyTooLarge",
        "PackedPolicyTooLargeException",
    }
)
_OTHER_KEYS = (
    "key element does not match the schema",
    "missing the key",
    "type mismatch for key ",  # of an index it says `for Index Key`
    "missed key schema element",
    "key condition not supported",
    "condition parameter type does not match",
)
"""What DynamoDB says, in lower case, of a key or a key condition that names pk and sk, both strings, as ours all do."""
_NO_OPERATION = frozenset({"InvalidAction", "NotImplemented", "UnknownOperation", "UnknownOperationException"})

_ENDPOINT = "Check the network, the region and AWS_ENDPOINT_URL_DYNAMODB, then call again."
_RENEW = {
    "env": "Set fresh AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and restart the server.",
    "sso": "Run `aws sso login --profile {profile}`, then call again.",
    "login": "Run `aws login --profile {profile}`, then call again.",
    "custom-process": "Renew what the credential_process of AWS profile {profile} relies on, then call again.",
    "mfa": "Run `aws sts get-caller-identity --profile {profile}` and enter the code there, then call again: the "
    "session that the AWS CLI keeps is used here too.",
    "iam-role": "This machine's instance role gives no valid credentials; check it, then call again.",
    "container-role": "This container's task role gives no valid credentials; check it, then call again.",
    "none": "Set up AWS profile {profile} with `aws configure sso` or `aws configure`, or name another one in "
    "AWS_PROFILE, then call again.",
}
_RENEW_PROFILE = (
    "Renew the credentials of AWS profile {profile} (with SSO: `aws sso login --profile {profile}`), then call again."
)

Fate = Literal["not done", "unknown", "answered"]


def code_of(failure: Exception) -> str:
    """AWS's error code; the HTTP status where the answer has none, `""` where there is no answer."""
    return str(failure.response.get("Error", {}).get("Code", "")) if isinstance(failure, ClientError) else ""


def fate(failure: Exception, operation: str) -> Fate:
    """What became of the request that failed.

    `answered`: it failed on the service's side, maybe after the work was done, but is over. DynamoDB says so of its
    5xx answers: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
    `unknown`: it may have been carried out, or may be yet; a 5xx without DynamoDB's code is some gateway's.
    """
    match failure:
        case ClientError():
            if failure.operation_name != _api_name(operation) or not _is_server_fault(failure):
                return "not done"
            return "unknown" if code_of(failure).isdigit() else "answered"
        case SSLError():
            return "not done" if _is_untrusted(failure) else "unknown"
        case HTTPClientError() | IncompleteReadError() | ResponseParserError():
            return "unknown"
    return "not done"


def mapped(failure: Exception, service: str, operation: str, table: str, session: Session | None) -> DdbMcpError:
    """The error of ours that `failure` means. What is neither botocore's nor ours is a bug, and raised.

    Args:
        failure: what a client, or making it, raised.
        service: whose client.
        operation: the client's method, for example `get_item`.
        table: the table's name.
        session: whose credentials were used, for the advice how to renew them.
    """
    match failure:
        case DdbMcpError():
            return failure
        case ClientError():
            return _answered(failure, service, table, session)
        case BotoCoreError():
            return _unanswered(failure, _api_name(operation), session)
        case ResponseParserError():
            return Unavailable(f"{_api_name(operation)} got an answer that is not DynamoDB's.", next=_ENDPOINT)
        case ValueError() if "nvalid endpoint" in str(failure):
            return Misconfigured(
                "The endpoint for AWS is not a URL.",
                next="Set AWS_ENDPOINT_URL_DYNAMODB to a whole URL such as http://localhost:8000, or unset it.",
            )
    raise failure


def _answered(failure: ClientError, service: str, table: str, session: Session | None) -> DdbMcpError:
    code, operation = code_of(failure), failure.operation_name
    message = failure.response.get("Error", {}).get("Message", "")
    status = failure.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _THROTTLED or status == 429:
        return Throttled(f"{operation} was throttled again and again.")
    if _is_server_fault(failure):
        return Unavailable(f"{operation} failed on the service's side again and again (HTTP {status}).")
    if code in _EXPIRED:
        return Unauthenticated("The AWS session has expired.", next=_renew(session))
    if code in _NOT_KNOWN or status == 401:
        return Unauthenticated("AWS does not know these credentials, or no longer.", next=_renew(session))
    if code in _SIGNATURE:
        return Unauthenticated(
            "AWS refused the signature: the secret key does not fit the access key, or this machine's clock is wrong.",
            next=f"Check the clock. {_renew(session)}",
        )
    if code in _DENIED:
        named = re.search(r"perform: ([a-z0-9-]+:[A-Za-z]+)", message)
        action = named[1] if named else f"{'sts' if operation == 'AssumeRole' else service}:{operation}"
        return Forbidden(
            f"These AWS credentials may not do this: the permission {action} is missing.",
            next="Ask the account's administrator for it; `ddb-mcp policy` prints the whole policy that is needed.",
        )
    if code in _NO_ACCOUNT:
        return Forbidden(
            "The AWS account may not use this service or region.", next="Check the region and the account."
        )
    if code in _POLICY:
        return Misconfigured(
            "AWS refused the session policy for DDB_MCP_ROLE_ARN.",
            next="Check DYNAMODB_PREFIX and DDB_MCP_LAMBDA_FUNCTIONS; `ddb-mcp policy` prints the policy.",
        )
    if code in _BUSY:
        return Unavailable(f"{operation} met another change under way again and again.")
    if code in _NO_OPERATION:
        return Unsupported(f"What answers at the endpoint has no {operation}.", next="Use an engine that has it.")
    if code == "ResourceNotFoundException":
        return NotProvisioned(f"The table {table!r} does not exist in this account and region.")
    if code == "ItemCollectionSizeLimitExceededException":
        return InvalidArgument("The partition is full: where the table has a local index, one pk holds 10 GB at most.")
    if code == "ValidationException":
        return _invalid(message, operation, table)
    if code.isdigit():
        return Misconfigured(f"What answers at the endpoint is not DynamoDB (HTTP {code}).", next=_ENDPOINT)
    return Internal(f"{operation} was refused with {code}.", next="Report this code to the maintainers.")


def _invalid(message: str, operation: str, table: str) -> DdbMcpError:
    """DynamoDB has one code for every request it finds invalid; what is wrong is in the message alone."""
    if index := re.search(r"Index Key:? (\S+) Expected: (\w+) Actual: (\w+) IndexName: (\S+)", message):
        name, wanted, got, which = index.groups()
        return InvalidArgument(
            f"{name} is a key of the table's index {which}, where it must be of type {wanted}, not {got}.",
            next=f"Give {name} that type, or leave it out.",
        )
    folded = message.lower()
    if any(words in folded for words in _OTHER_KEYS):
        return Misconfigured(
            f"The table {table!r} has another key schema.",
            next="Set DYNAMODB_TABLE to a table with partition key pk and sort key sk, both strings.",
        )
    if "item size" in folded:
        return InvalidArgument("The item would be over DynamoDB's limit of 400 KB.", next="Split it over several keys.")
    if "nesting levels" in folded:
        return InvalidArgument("The item would be nested deeper than DynamoDB's limit.", next="Flatten it.")
    return InvalidArgument(f"DynamoDB finds the {operation} request invalid: {' '.join(message.split())[:300]}")


def _unanswered(failure: BotoCoreError, operation: str, session: Session | None) -> DdbMcpError:
    match failure:
        case ReadTimeoutError():
            return Timeout(f"{operation} got no answer within {aws.READ_SECONDS:g} s.")
        case ConnectTimeoutError():
            return Timeout(f"{operation} got no connection within {aws.CONNECT_SECONDS:g} s.", next=_ENDPOINT)
        case SSLError() if _is_untrusted(failure):
            return Misconfigured(
                "The TLS certificate of the endpoint is not trusted here.",
                next="Set AWS_CA_BUNDLE to the certificates that your network's proxy uses, or correct the endpoint.",
            )
        case ProxyConnectionError():
            return Unavailable("The HTTP proxy cannot be reached.", next="Check HTTPS_PROXY and NO_PROXY.")
        case EndpointConnectionError():
            return Unavailable(f"{operation} cannot reach the endpoint.", next=_ENDPOINT)
        case ConnectionError() | HTTPClientError() | IncompleteReadError() | ChecksumError() | FlexibleChecksumError():
            return Unavailable(f"{operation}: the connection broke before the answer was complete.")
        case NoCredentialsError():
            return Unauthenticated("There are no AWS credentials.", next=_renew(session))
        case PartialCredentialsError():
            return Unauthenticated("The AWS credentials are incomplete: the key or its secret is missing.")
        case SSOError() | TokenRetrievalError() | NoAuthTokenError():
            return Unauthenticated("The AWS SSO session has expired, or there is none.", next=_renew(session, "sso"))
        case LoginError():
            return Unauthenticated("The AWS login has expired, or there is none.", next=_renew(session, "login"))
        case RefreshWithMFAUnsupportedError():
            return Unauthenticated(
                "The AWS profile wants an MFA code, which this server cannot ask for.", next=_renew(session, "mfa")
            )
        case CredentialRetrievalError() | MetadataRetrievalError():
            return Unauthenticated("The AWS credentials could not be obtained.", next=_renew(session))
        case ProfileNotFound():
            return Misconfigured(
                f"The AWS profile {failure.kwargs.get('profile')!r} does not exist.",
                next="Set AWS_PROFILE to a profile that `aws configure list-profiles` shows.",
            )
        case NoRegionError():
            return Misconfigured(
                "No AWS region is configured.",
                next="Set AWS_DEFAULT_REGION (AWS_REGION is not read by boto3), or `region` in the AWS profile.",
            )
        case BaseEndpointResolverError() | EndpointProviderError() | InvalidRegionError() | UnknownRegionError():
            return Misconfigured("There is no such AWS region.", next="Correct AWS_DEFAULT_REGION, or the AWS profile.")
    return Misconfigured(
        "The AWS configuration cannot be used.",
        next="Check the AWS_* variables and the files ~/.aws/config and ~/.aws/credentials.",
    )


def _renew(session: Session | None, method: str | None = None) -> str:
    """What renews the credentials of a session, by where they came from."""
    source: Any = session.source if isinstance(session, RoleSession) else session
    profile = (source.profile if source is not None else None) or "default"
    if method is None:
        # Not get_credentials(), which may be what has just failed.
        credentials = getattr(source, "_credentials", None)
        method = getattr(credentials, "method", None) or "none"
    return _RENEW.get(method, _RENEW_PROFILE).format(profile=profile)


def _api_name(operation: str) -> str:
    return "".join(map(str.capitalize, operation.split("_")))


def _is_server_fault(failure: ClientError) -> bool:
    status = failure.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return (status >= 500 or code_of(failure) in _SERVER_FAULT) and code_of(failure) not in _THROTTLED


def _is_untrusted(failure: SSLError) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(failure)
