"""Maps each failure of botocore to one of our errors, in our words. Imported when something has failed.

AWS's own words are never part of a message: where they help, they are `quoted`.
"""

import os
import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from botocore import exceptions as aws
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from botocore.session import Session

from ddb_mcp.config.values import is_loopback
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
from ddb_mcp.stores import tls
from ddb_mcp.stores.direct import codes
from ddb_mcp.stores.direct.session import AwsSession, is_no_url
from ddb_mcp.stores.retries import Outcome

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
_QUOTED_MAX = 300


class Asked(NamedTuple):
    """An operation that AWS was asked for, and the session with its credentials.

    Attributes:
        service: `dynamodb` or `lambda`.
        operation: the operation as AWS names it, for example `GetItem`.
        table: the table's name.
        session: None where none could be made.
    """

    service: str
    operation: str
    table: str
    session: AwsSession | None

    @property
    def name(self) -> str:
        return _SERVICES[self.service]

    @property
    def check_endpoint(self) -> str:
        return f"Check the network, the region and AWS_ENDPOINT_URL_{self.service.upper()}, then call again."

    def renew(self, method: str = "") -> str:
        """Advice for a person how to renew the credentials, by their source."""
        source = self.session and self.session.source
        profile = (source and source.profile) or "default"
        method = method or (self.session and self.session.method) or _configured(source, profile) or "none"
        return _RENEW.get(method, _RENEW_PROFILE).format(profile=profile)


def _configured(source: Session | None, profile: str) -> str | None:
    """Where the credentials should have come from, of the sources that fail before botocore says which they are."""
    if source is not None and "credential_process" in source.full_config.get("profiles", {}).get(profile, {}):
        return "custom-process"
    container = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"}
    return "container-role" if container & os.environ.keys() else None


def code_of(failure: Exception, operation: str) -> str:
    """AWS's error code for the operation, which it names so; the HTTP status where the answer has none.

    `""` where there is no answer, or one to what the credentials needed (AssumeRole).
    """
    if not isinstance(failure, ClientError) or failure.operation_name != operation:
        return ""
    return _code(failure)


def _code(failure: ClientError) -> str:
    return str(failure.response.get("Error", {}).get("Code", ""))


def outcome(failure: Exception, operation: str) -> Outcome:
    """The outcome of the request that failed. `operation` is named as AWS names it.

    DynamoDB says of its 5xx answers that the write may have been done; the request is over then:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
    A 5xx without DynamoDB's code is a proxy's, behind which the request may still be under way.
    """
    match failure:
        case ClientError():
            if failure.operation_name != operation or not _Refusal.of(failure).is_server_fault:
                return Outcome.NOT_DONE
            return Outcome.LOST if _code(failure).isdigit() else Outcome.ENDED
        case aws.SSLError() | aws.HTTPClientError():
            return Outcome.LOST if _unsendable(failure) is None else Outcome.NOT_DONE
        case aws.IncompleteReadError() | ResponseParserError():
            return Outcome.LOST
    return Outcome.NOT_DONE


def mapped(failure: Exception, asked: Asked) -> DdbMcpError:
    """The error of ours for `failure`. Raises `failure` itself where it is neither botocore's nor ours: a bug."""
    match failure:
        case DdbMcpError():
            return failure
        case ClientError():
            return _answered(_Refusal.of(failure), asked)
        case BotoCoreError():
            return _unanswered(failure, asked)
        case ResponseParserError():
            return Unavailable(
                f"{asked.operation} got an answer that is not {asked.name}'s.", next=asked.check_endpoint
            )
        case ValueError() if is_no_url(failure):
            return Misconfigured(
                "The endpoint for AWS is not a URL.",
                next=f"Set AWS_ENDPOINT_URL_{asked.service.upper()} to a whole URL like http://localhost:8000, or "
                "unset it.",
            )
    raise failure


# Answers


class _Refusal(NamedTuple):
    """An error answer. `operation` is another than the one asked for where the credentials needed it (AssumeRole)."""

    code: str
    status: int
    message: str
    operation: str

    @classmethod
    def of(cls, failure: ClientError) -> "_Refusal":
        response = failure.response
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return cls(_code(failure), status, response.get("Error", {}).get("Message", ""), failure.operation_name)

    @property
    def is_throttled(self) -> bool:
        return self.code in codes.THROTTLED or self.status == 429

    @property
    def is_server_fault(self) -> bool:
        faulty = self.status >= 500 or self.status in (408, 421) or self.code in codes.SERVER_FAULT
        return faulty and not self.is_throttled

    @property
    def quoted(self) -> str | None:
        """The first sentence of the message: what follows may quote what was sent."""
        return " ".join(self.message.split()).partition(". ")[0][:_QUOTED_MAX] or None


_Explain = Callable[[_Refusal, Asked], DdbMcpError]


def _answered(refusal: _Refusal, asked: Asked) -> DdbMcpError:
    if refusal.is_throttled:
        return Throttled(f"{refusal.operation} was throttled.")
    if refusal.is_server_fault:
        return Unavailable(f"{refusal.operation} failed on the service's side (HTTP {refusal.status}).")
    explain = _BY_CODE.get(refusal.code)
    if explain is None:
        explain = _not_aws if refusal.code.isdigit() else _BY_STATUS.get(refusal.status, _not_known_here)
    return explain(refusal, asked)


def _not_known_here(refusal: _Refusal, asked: Asked) -> DdbMcpError:
    """The default for a code that is in no table, for example one that AWS has added since."""
    return Internal(
        f"{asked.name} refused {refusal.operation} with an error that this version of ddb-mcp does not know.",
        next="Upgrade ddb-mcp, or report the error's code to the maintainers.",
        quoted=refusal.code[:_QUOTED_MAX],
    )


def _not_aws(refusal: _Refusal, asked: Asked) -> DdbMcpError:
    return Misconfigured(
        f"What answers at the endpoint is not {asked.name} (HTTP {refusal.code}).",
        next=f"Is AWS_ENDPOINT_URL_{asked.service.upper()} right, with http:// or https:// as the endpoint speaks it?",
    )


def _expired(refusal: _Refusal, asked: Asked) -> DdbMcpError:
    return Unauthenticated("The AWS session has expired.", next=asked.renew())


def _unknown_key(refusal: _Refusal, asked: Asked) -> DdbMcpError:
    return Unauthenticated("AWS does not know these credentials, or no longer.", next=asked.renew())


def _signature(refusal: _Refusal, asked: Asked) -> DdbMcpError:
    return Unauthenticated(
        "AWS refused the signature: the secret key does not fit the access key, or this machine's clock is wrong.",
        next=f"Check the clock. {asked.renew()}",
    )


def _denied(refusal: _Refusal, asked: Asked) -> DdbMcpError:
    named = re.search(r"perform: ([a-z0-9-]+:[A-Za-z]+)", refusal.message)
    service = "sts" if refusal.operation == "AssumeRole" else asked.service
    return Forbidden(
        "These AWS credentials may not do this: the permission "
        f"{named[1] if named else f'{service}:{refusal.operation}'} is missing.",
        next="Ask the account's administrator for it; `ddb-mcp policy` prints the whole policy that is needed.",
    )


def _no_account(refusal: _Refusal, asked: Asked) -> DdbMcpError:
    return Forbidden("The AWS account may not use this service or region.", next="Check the region and the account.")


def _session_policy(refusal: _Refusal, asked: Asked) -> DdbMcpError:
    return Misconfigured(
        "AWS refused the session policy for DDB_MCP_ROLE_ARN.",
        next="Check DYNAMODB_PREFIX and DDB_MCP_LAMBDA_FUNCTIONS; `ddb-mcp policy` prints the policy.",
    )


def _busy(refusal: _Refusal, asked: Asked) -> DdbMcpError:
    if refusal.code == "LimitExceededException" and re.search(r"limit of \d+ tables|number of tables", refusal.message):
        return Forbidden(
            "The AWS account has as many tables as it may have in this region.",
            next="Delete a table, or ask for a higher quota in Service Quotas.",
        )
    return Unavailable(f"{refusal.operation} met another change under way.")


def _no_operation(refusal: _Refusal, asked: Asked) -> DdbMcpError:
    return Unsupported(f"What answers at the endpoint has no {refusal.operation}.", next="Use an engine that has it.")


def _not_found(refusal: _Refusal, asked: Asked) -> DdbMcpError:
    if asked.service == "lambda":
        return NotProvisioned(
            "There is no such function in this account and region.", next="Correct DDB_MCP_LAMBDA_FUNCTIONS."
        )
    return NotProvisioned(f"The table {asked.table!r} does not exist in this account and region.")


def _partition_full(refusal: _Refusal, asked: Asked) -> DdbMcpError:
    return InvalidArgument("The partition is full: where the table has a local index, one pk holds 10 GB at most.")


def _invalid(refusal: _Refusal, asked: Asked) -> DdbMcpError:
    if refusal.operation.startswith("AssumeRole"):
        return Misconfigured(
            "AWS refuses the request for the role as invalid.",
            next="Check the role's ARN in DDB_MCP_ROLE_ARN, or in the AWS profile.",
        )
    if asked.service == "dynamodb" and refusal.code == "ValidationException":
        return _invalid_item(refusal, asked)
    return InvalidArgument(f"{asked.name} finds the {refusal.operation} request invalid.", quoted=refusal.quoted)


def _invalid_item(refusal: _Refusal, asked: Asked) -> DdbMcpError:
    """DynamoDB has one code for every request it finds invalid; what is wrong is in the message alone."""
    if index := re.search(r"Index Key:? (\S+) Expected: (\w+) Actual: (\w+) IndexName: (\S+)", refusal.message):
        name, wanted, got, which = index.groups()
        return InvalidArgument(
            f"{name} is a key of the table's index {which}, where it must be of type {wanted}, not {got}.",
            next=f"Give {name} that type, or leave it out.",
        )
    folded = refusal.message.lower()
    if any(words in folded for words in codes.OTHER_KEYS):
        return Misconfigured(
            f"The table {asked.table!r} has another key schema.",
            next="Set DYNAMODB_TABLE to a table with partition key pk and sort key sk, both strings.",
        )
    if "item size" in folded:
        return InvalidArgument("The item would be over DynamoDB's limit of 400 KB.", next="Split it over several keys.")
    if "nesting levels" in folded:
        return InvalidArgument("The item would be nested deeper than DynamoDB's limit.", next="Flatten it.")
    quoted = " ".join(refusal.message.split())[:_QUOTED_MAX] or None
    return InvalidArgument(f"DynamoDB finds the {refusal.operation} request invalid.", quoted=quoted)


_BY_CODE: dict[str, _Explain] = {
    **dict.fromkeys(codes.EXPIRED, _expired),
    **dict.fromkeys(codes.NOT_KNOWN, _unknown_key),
    **dict.fromkeys(codes.SIGNATURE, _signature),
    **dict.fromkeys(codes.DENIED, _denied),
    **dict.fromkeys(codes.NO_ACCOUNT, _no_account),
    **dict.fromkeys(codes.SESSION_POLICY, _session_policy),
    **dict.fromkeys(codes.BUSY, _busy),
    **dict.fromkeys(codes.NO_OPERATION, _no_operation),
    **dict.fromkeys(("ValidationError", "ValidationException", "InvalidParameterValueException"), _invalid),
    "ResourceNotFoundException": _not_found,
    "ItemCollectionSizeLimitExceededException": _partition_full,
}
_BY_STATUS: dict[int, _Explain] = {401: _unknown_key, 403: _denied}


# No answer


def _unsendable(failure: BotoCoreError) -> Misconfigured | None:
    """The error where the settings kept the request from being sent; None where it may have been sent."""
    error = failure.kwargs.get("error")
    text = f"{failure} {error}"
    if tls.is_untrusted(text):
        return Misconfigured(
            "The TLS certificate of the endpoint is not trusted here.",
            next="Set AWS_CA_BUNDLE to the certificates that your network's proxy uses, or correct the endpoint.",
        )
    if isinstance(failure, aws.SSLError) and tls.is_plain(text):
        return Misconfigured(
            "What listens at the endpoint does not speak TLS.", next="Is it http:// instead of https://?"
        )
    reason = error.args[0] if isinstance(error, Exception) and error.args else None
    bundle = isinstance(failure, aws.SSLError) and (
        isinstance(reason, FileNotFoundError | IsADirectoryError | PermissionError)
        or getattr(reason, "library", None) in ("X509", "PEM", "ASN1")
    )
    if bundle or isinstance(error, ValueError):  # no URL, or a credential with a character that no header carries
        return Misconfigured(
            "No request can be made of the AWS settings.",
            next="Check AWS_CA_BUNDLE, the AWS_ENDPOINT_URL variables, HTTP_PROXY and HTTPS_PROXY, and whether "
            "AWS_ACCESS_KEY_ID or AWS_SESSION_TOKEN holds the end of a line.",
        )
    return None


def _unanswered(failure: BotoCoreError, asked: Asked) -> DdbMcpError:
    if unsendable := _unsendable(failure):
        return unsendable
    return next(explain for kinds, explain in _BY_KIND if isinstance(failure, kinds))(failure, asked)


def _read_timeout(failure: BotoCoreError, asked: Asked) -> DdbMcpError:
    return Timeout(f"{asked.operation} got no answer within {limits.AWS_READ_SECONDS:g} s.")


def _connect_timeout(failure: BotoCoreError, asked: Asked) -> DdbMcpError:
    seconds = limits.AWS_CONNECT_SECONDS
    return Timeout(f"{asked.operation} got no connection within {seconds:g} s.", next=asked.check_endpoint)


def _proxy(failure: BotoCoreError, asked: Asked) -> DdbMcpError:
    return Unavailable("The HTTP proxy cannot be reached.", next="Check HTTPS_PROXY and NO_PROXY.")


def _unreachable(failure: BotoCoreError, asked: Asked) -> DdbMcpError:
    url = str(failure.kwargs.get("endpoint_url"))
    if region := _unknown_region(url, asked.session):
        return Misconfigured(f"There is no AWS region {region!r}.", next=_REGION)
    parts = urlsplit(url)
    if is_loopback(parts.hostname or ""):
        return Unavailable(
            f"Nothing listens at {parts.scheme}://{parts.netloc}: the engine is not running.",
            next=f"Start it, or correct AWS_ENDPOINT_URL_{asked.service.upper()}. `ddb-mcp endpoint` serves the local "
            "mode's file there; other engines have commands of their own.",
        )
    return Unavailable(f"{asked.operation} cannot reach the endpoint.", next=asked.check_endpoint)


def _unknown_region(url: str, session: Session | None) -> str | None:
    """The region that the name of a service's own endpoint holds, if AWS has no such region."""
    region = re.match(r"https://(?:[a-z-]+|[0-9]+\.ddb)\.([a-z0-9-]+)\.amazonaws\.", url)
    if session is None or region is None:
        return None
    partitions = session.get_available_partitions()
    known = any(region[1] in session.get_available_regions("dynamodb", partition) for partition in partitions)
    return None if known else region[1]


def _broken(failure: BotoCoreError, asked: Asked) -> DdbMcpError:
    return Unavailable(f"{asked.operation}: the connection broke before the answer was complete.", next=tls.BROKEN_NEXT)


def _partial_credentials(failure: BotoCoreError, asked: Asked) -> DdbMcpError:
    return Unauthenticated(
        "The AWS credentials are incomplete: the key or its secret is missing.",
        next="Set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY and restart the server, or give both "
        "aws_access_key_id and aws_secret_access_key in the AWS profile and call again.",
    )


def _no_credentials(failure: BotoCoreError, asked: Asked) -> DdbMcpError:
    return Unauthenticated("There are no AWS credentials.", next=asked.renew())


def _not_obtained(failure: BotoCoreError, asked: Asked) -> DdbMcpError:
    method = str(failure.kwargs.get("provider", ""))
    return Unauthenticated("The AWS credentials could not be obtained.", next=asked.renew(method))


def _login(method: str, message: str) -> Callable[[BotoCoreError, Asked], DdbMcpError]:
    return lambda failure, asked: Unauthenticated(message, next=asked.renew(method))


def _no_profile(failure: BotoCoreError, asked: Asked) -> DdbMcpError:
    return Misconfigured(
        f"The AWS profile {failure.kwargs.get('profile')!r} does not exist.",
        next="Set AWS_PROFILE to a profile that `aws configure list-profiles` shows.",
    )


_REGION = "Set AWS_REGION or AWS_DEFAULT_REGION, or `region` in the AWS profile."


def _no_region(failure: BotoCoreError, asked: Asked) -> DdbMcpError:
    return Misconfigured("No AWS region is configured.", next=_REGION)


def _bad_region(failure: BotoCoreError, asked: Asked) -> DdbMcpError:
    return Misconfigured("There is no such AWS region.", next=_REGION)


def _unusable(failure: BotoCoreError, asked: Asked) -> DdbMcpError:
    return Misconfigured(
        "The AWS configuration cannot be used.",
        next="Check the AWS_* variables and the files ~/.aws/config and ~/.aws/credentials.",
    )


# The first kind that fits counts: a class stands before its base classes. By name, because older versions of botocore
# lack some of them.
_BY_NAME: tuple[tuple[str, Callable[[BotoCoreError, Asked], DdbMcpError]], ...] = (
    ("ReadTimeoutError", _read_timeout),
    ("ConnectTimeoutError", _connect_timeout),
    ("ProxyConnectionError", _proxy),
    ("EndpointConnectionError", _unreachable),
    ("ConnectionError HTTPClientError IncompleteReadError ChecksumError FlexibleChecksumError", _broken),
    ("NoCredentialsError", _no_credentials),
    ("PartialCredentialsError", _partial_credentials),
    (
        "SSOError TokenRetrievalError NoAuthTokenError",
        _login("sso", "The AWS SSO session has expired, or there is none."),
    ),
    ("LoginError", _login("login", "The AWS login has expired, or there is none.")),
    (
        "RefreshWithMFAUnsupportedError",
        _login("mfa", "The AWS profile wants an MFA code, which this server cannot ask for."),
    ),
    ("CredentialRetrievalError MetadataRetrievalError", _not_obtained),
    ("ProfileNotFound", _no_profile),
    ("NoRegionError", _no_region),
    ("BaseEndpointResolverError EndpointProviderError InvalidRegionError UnknownRegionError", _bad_region),
    ("BotoCoreError", _unusable),
)
_BY_KIND = [
    (tuple(getattr(aws, name) for name in names.split() if hasattr(aws, name)), explain) for names, explain in _BY_NAME
]
