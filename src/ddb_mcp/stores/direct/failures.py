"""Every failure of botocore as one of our errors, in our words. Imported when something has failed."""

import os
import re
from typing import Any

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
from urllib3.exceptions import LocationValueError

from ddb_mcp.core import limits
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
from ddb_mcp.stores.direct.session import RoleSession, is_no_url
from ddb_mcp.stores.retries import Outcome

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
        "InvalidEndpointException",
        "RequestTimeout",
        "RequestTimeoutException",
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
_NO_OPERATION = frozenset(
    {
        "InvalidAction",
        "NotImplemented",
        "UnknownOperation",
        "UnknownOperationException",
        "UnsupportedOperationException",
    }
)

_SERVICES = {"dynamodb": "DynamoDB", "lambda": "Lambda"}
_RENEW = {
    "env": "Set fresh AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and restart the server.",
    "sso": "Run `aws sso login --profile {profile}`, then call again.",
    "login": "Run `aws login --profile {profile}`, then call again.",
    "custom-process": "Renew what the credential_process of AWS profile {profile} relies on, then call again.",
    "mfa": "Run `aws sts get-caller-identity --profile {profile}` and enter the code there, then call again: the "
    "session that the AWS CLI keeps is used here too.",
    "iam-role": "This machine's instance role gives no valid credentials; check it, then call again.",
    "container-role": "This container's task role gives no valid credentials; check it, and "
    "AWS_CONTAINER_CREDENTIALS_FULL_URI or AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, then call again.",
    "assume-role-with-web-identity": "Check the role and the token file: AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE, "
    "or role_arn and web_identity_token_file in AWS profile {profile}. Then call again.",
    "none": "Set up AWS profile {profile} with `aws configure sso` or `aws configure`, or name another one in "
    "AWS_PROFILE, then call again.",
}
_RENEW_PROFILE = (
    "Renew the credentials of AWS profile {profile} (with SSO: `aws sso login --profile {profile}`), then call again."
)


def code_of(failure: Exception) -> str:
    """AWS's error code; the HTTP status where the answer has none, `""` where there is no answer."""
    return str(failure.response.get("Error", {}).get("Code", "")) if isinstance(failure, ClientError) else ""


def outcome(failure: Exception, operation: str) -> Outcome:
    """What is known of the request that failed.

    DynamoDB says of its 5xx answers that the write may have been done; the request is over then:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
    A 5xx without DynamoDB's code is a proxy's, behind which the request may still be under way.
    """
    match failure:
        case ClientError():
            if failure.operation_name != _api_name(operation) or not _is_server_fault(failure):
                return Outcome.NOT_DONE
            return Outcome.LOST if code_of(failure).isdigit() else Outcome.ENDED
        case SSLError() | HTTPClientError():
            return Outcome.LOST if _unsendable(failure) is None else Outcome.NOT_DONE
        case IncompleteReadError() | ResponseParserError():
            return Outcome.LOST
    return Outcome.NOT_DONE


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
            return _unanswered(failure, service, _api_name(operation), session)
        case ResponseParserError():
            return Unavailable(
                f"{_api_name(operation)} got an answer that is not {_SERVICES[service]}'s.", next=_endpoint(service)
            )
        case ValueError() if is_no_url(failure):
            return Misconfigured(
                "The endpoint for AWS is not a URL.",
                next=f"Set AWS_ENDPOINT_URL_{service.upper()} to a whole URL like http://localhost:8000, or unset it.",
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
    if code == "LimitExceededException" and re.search(r"limit of \d+ tables|number of tables", message):
        return Forbidden(
            "The AWS account has as many tables as it may have in this region.",
            next="Delete a table, or ask for a higher quota in Service Quotas.",
        )
    if code in _BUSY:
        return Unavailable(f"{operation} met another change under way again and again.")
    if code in _NO_OPERATION:
        return Unsupported(f"What answers at the endpoint has no {operation}.", next="Use an engine that has it.")
    if code == "ResourceNotFoundException" and service == "lambda":
        return NotProvisioned(
            "There is no such function in this account and region.", next="Correct DDB_MCP_LAMBDA_FUNCTIONS."
        )
    if code == "ResourceNotFoundException":
        return NotProvisioned(f"The table {table!r} does not exist in this account and region.")
    if code == "ItemCollectionSizeLimitExceededException":
        return InvalidArgument("The partition is full: where the table has a local index, one pk holds 10 GB at most.")
    if code == "ValidationError" and operation.startswith("AssumeRole"):
        return Misconfigured(
            "AWS refuses the request for the role as invalid.",
            next="Check the role's ARN in DDB_MCP_ROLE_ARN, or in the AWS profile.",
        )
    if code == "ValidationException" and service == "dynamodb":
        return _invalid(message, operation, table)
    if code in ("ValidationException", "InvalidParameterValueException"):
        return InvalidArgument(f"{_SERVICES[service]} finds the {operation} request invalid: {_sentence(message)}")
    if code.isdigit():
        return Misconfigured(
            f"What answers at the endpoint is not {_SERVICES[service]} (HTTP {code}).", next=_endpoint(service)
        )
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


def _unanswered(failure: BotoCoreError, service: str, operation: str, session: Session | None) -> DdbMcpError:
    if unsendable := _unsendable(failure):
        return unsendable
    match failure:
        case ReadTimeoutError():
            return Timeout(f"{operation} got no answer within {limits.AWS_READ_SECONDS:g} s.")
        case ConnectTimeoutError():
            return Timeout(
                f"{operation} got no connection within {limits.AWS_CONNECT_SECONDS:g} s.", next=_endpoint(service)
            )
        case ProxyConnectionError():
            return Unavailable("The HTTP proxy cannot be reached.", next="Check HTTPS_PROXY and NO_PROXY.")
        case EndpointConnectionError():
            if region := _unknown_region(failure, session):
                return Misconfigured(
                    f"There is no AWS region {region!r}.", next="Correct AWS_DEFAULT_REGION, or the AWS profile."
                )
            return Unavailable(f"{operation} cannot reach the endpoint.", next=_endpoint(service))
        case ConnectionError() | HTTPClientError() | IncompleteReadError() | ChecksumError() | FlexibleChecksumError():
            return Unavailable(f"{operation}: the connection broke before the answer was complete.")
        case NoCredentialsError():
            return Unauthenticated("There are no AWS credentials.", next=_renew(session))
        case PartialCredentialsError():
            return Unauthenticated(
                "The AWS credentials are incomplete: the key or its secret is missing.",
                next="Set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY and restart the server, or give both "
                "aws_access_key_id and aws_secret_access_key in the AWS profile and call again.",
            )
        case SSOError() | TokenRetrievalError() | NoAuthTokenError():
            return Unauthenticated("The AWS SSO session has expired, or there is none.", next=_renew(session, "sso"))
        case LoginError():
            return Unauthenticated("The AWS login has expired, or there is none.", next=_renew(session, "login"))
        case RefreshWithMFAUnsupportedError():
            return Unauthenticated(
                "The AWS profile wants an MFA code, which this server cannot ask for.", next=_renew(session, "mfa")
            )
        case CredentialRetrievalError() | MetadataRetrievalError():
            return Unauthenticated(
                "The AWS credentials could not be obtained.",
                next=_renew(session, str(failure.kwargs.get("provider", ""))),
            )
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


def _renew(session: Session | None, method: str = "") -> str:
    """What renews the credentials of a session, by where they came from."""
    source: Any = session.source if isinstance(session, RoleSession) else session
    profile = (source.profile if source is not None else None) or "default"
    if not method:
        # Not get_credentials(), which may be what has just failed.
        credentials = getattr(source, "_credentials", None)
        method = getattr(credentials, "method", None) or _configured(source, profile) or "none"
    return _RENEW.get(method, _RENEW_PROFILE).format(profile=profile)


def _configured(source: Any, profile: str) -> str | None:
    """Where the credentials should have come from, of the sources that fail before botocore says which they are."""
    if source is not None and "credential_process" in source.full_config.get("profiles", {}).get(profile, {}):
        return "custom-process"
    container = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"}
    return "container-role" if container & os.environ.keys() else None


def _unknown_region(failure: EndpointConnectionError, session: Session | None) -> str | None:
    """The region that the name of a service's own endpoint holds, if AWS has no such region."""
    url = str(failure.kwargs.get("endpoint_url"))
    region = re.match(r"https://(?:[a-z-]+|[0-9]+\.ddb)\.([a-z0-9-]+)\.amazonaws\.", url)
    if session is None or region is None:
        return None
    partitions = session.get_available_partitions()
    known = any(region[1] in session.get_available_regions("dynamodb", partition) for partition in partitions)
    return None if known else region[1]


def _endpoint(service: str) -> str:
    return f"Check the network, the region and AWS_ENDPOINT_URL_{service.upper()}, then call again."


def _sentence(message: str) -> str:
    """The first sentence of AWS's: what follows may quote what was sent."""
    return " ".join(message.split()).partition(". ")[0][:300]


def _api_name(operation: str) -> str:
    return "".join(map(str.capitalize, operation.split("_")))


def _is_server_fault(failure: ClientError) -> bool:
    status = failure.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = code_of(failure)
    return (status >= 500 or status in (408, 421) or code in _SERVER_FAULT) and code not in _THROTTLED


def _unsendable(failure: BotoCoreError) -> Misconfigured | None:
    """Why nothing was sent, where the settings are the reason; None where something may have been sent."""
    error = failure.kwargs.get("error")
    if isinstance(failure, SSLError):
        reason = error.args[0] if isinstance(error, Exception) and error.args else None
        if "CERTIFICATE_VERIFY_FAILED" in str(failure):
            return Misconfigured(
                "The TLS certificate of the endpoint is not trusted here.",
                next="Set AWS_CA_BUNDLE to the certificates that your network's proxy uses, or correct the endpoint.",
            )
        # Of the bundle, not of the connection: an error of the file, or of OpenSSL's libraries that read certificates.
        if isinstance(reason, FileNotFoundError | IsADirectoryError | PermissionError) or (
            getattr(reason, "library", None) in ("X509", "PEM", "ASN1")
        ):
            return Misconfigured(
                "The file of trusted certificates cannot be read.",
                next="Set AWS_CA_BUNDLE (or REQUESTS_CA_BUNDLE) to a file of certificates in PEM form, or unset it.",
            )
    if isinstance(error, LocationValueError):
        return Misconfigured(
            "The address of the endpoint, or of the HTTP proxy, is not a URL that can be used.",
            next="Check the AWS_ENDPOINT_URL variables, HTTP_PROXY and HTTPS_PROXY.",
        )
    if isinstance(error, ValueError) and str(error).startswith("Invalid header value"):
        return Misconfigured(
            "The AWS credentials hold a character that cannot be sent, such as the end of a line.",
            next="Set AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN again without it, and restart the server.",
        )
    return None
