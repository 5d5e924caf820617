"""Every error that botocore knows for our operations has a code of ours, and words of ours."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import botocore.tokens
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

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
from ddb_mcp.core.keys import Key
from ddb_mcp.core.updates import Update
from ddb_mcp.stores.base import NO_CONDITION
from ddb_mcp.stores.direct import aws as aws_module
from ddb_mcp.stores.direct import errors
from ddb_mcp.stores.direct.errors import FailedRequest
from ddb_mcp.stores.direct.session import AwsSession
from tests.direct.support import CREDENTIALS, aws, direct
from tests.support.faults import Answer, FaultProxy, dynamodb_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from anyio.from_thread import BlockingPortal

    from ddb_mcp.stores.direct.store import DirectStore
    from tests.support.engines import Engine

# What the operations' pages list, and the errors common to all operations:
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html
CODES: dict[str, type[DdbMcpError]] = {
    "AccessDeniedException": Forbidden,
    "ExpiredToken": Unauthenticated,
    "ExpiredTokenException": Unauthenticated,
    "IncompleteSignature": Unauthenticated,
    "InternalFailure": Unavailable,
    "InternalServerError": Unavailable,
    "InvalidClientTokenId": Unauthenticated,
    "InvalidEndpointException": Unavailable,
    "InvalidSignatureException": Unauthenticated,
    "ItemCollectionSizeLimitExceededException": InvalidArgument,
    "LimitExceededException": Unavailable,
    "MalformedPolicyDocumentException": Misconfigured,
    "MissingAuthenticationToken": Unauthenticated,
    "NotAuthorized": Forbidden,
    "OptInRequired": Forbidden,
    "PackedPolicyTooLargeException": Misconfigured,
    "ProvisionedThroughputExceededException": Throttled,
    "RegionDisabledException": Forbidden,
    "ReplicatedWriteConflictException": Unavailable,
    "RequestExpired": Unauthenticated,
    "RequestLimitExceeded": Throttled,
    "RequestTimeout": Unavailable,
    "ResourceConflictException": Unavailable,
    "ResourceInUseException": Unavailable,
    "ResourceNotFoundException": NotProvisioned,
    "ServiceException": Unavailable,
    "ServiceUnavailable": Unavailable,
    "ThrottlingException": Throttled,
    "TooManyRequestsException": Throttled,
    "TransactionConflictException": Unavailable,
    "UnknownOperationException": Unsupported,
    "UnsupportedOperationException": Unsupported,
    "UnrecognizedClientException": Unauthenticated,
    "ValidationException": InvalidArgument,
    "404": Misconfigured,
    "408": Unavailable,
    "421": Unavailable,
    "503": Unavailable,
    "429": Throttled,
}


def session() -> AwsSession:
    made = AwsSession()
    made.set_config_variable("profile", "work")
    return made


def said(failure: Exception) -> DdbMcpError:
    return errors.to_error(failure, FailedRequest("dynamodb", "GetItem", "the-table", session()))


STATUS = {
    **dict.fromkeys(("InternalFailure", "InternalServerError", "ServiceException"), 500),
    "ServiceUnavailable": 503,
    "RequestTimeout": 408,
    "InvalidEndpointException": 421,
}
"""The status that comes with a code, where it is not 400."""


def answer(code: str, message: str = "SECRET PROSE", operation: str = "GetItem") -> ClientError:
    status = int(code) if code.isdigit() else STATUS.get(code, 400)
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, Internal),
        (401, Unauthenticated),
        (403, Forbidden),
        (404, Internal),
        (408, Unavailable),
        (429, Throttled),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
@pytest.mark.parametrize("service", ["dynamodb", "lambda"])
def test_a_code_that_nobody_knows_yet(service: str, status: int, expected: type[DdbMcpError]) -> None:
    response: Any = {
        "Error": {"Code": "AddedTomorrowException", "Message": "SECRET PROSE"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    error = errors.to_error(ClientError(response, "GetItem"), FailedRequest(service, "GetItem", "the-table", session()))
    assert type(error) is expected
    assert error.next
    assert "AddedTomorrow" not in error.message + error.next
    if expected is Internal:
        assert error.quoted == "AddedTomorrowException"
        assert not error.retryable


@pytest.mark.parametrize(("code", "expected"), CODES.items())
def test_answers(code: str, expected: type[DdbMcpError]) -> None:
    error = said(answer(code))
    assert type(error) is expected
    assert error.message
    assert error.next
    assert "botocore" not in f"{error.message} {error.next}"
    assert "PROSE" not in f"{error.message} {error.next}"
    assert (error.quoted == "SECRET PROSE") is (code == "ValidationException")


@pytest.mark.parametrize(
    ("message", "expected", "words"),
    [
        ("The provided key element does not match the schema", Misconfigured, "key schema"),
        ("One or more parameter values were invalid: Missing the key sk in the item", Misconfigured, "key schema"),
        (
            "One or more parameter values were invalid: Type mismatch for key sk expected: N actual: S",
            Misconfigured,
            "key schema",
        ),
        ("Query condition missed key schema element: id", Misconfigured, "key schema"),
        ("Query key condition not supported", Misconfigured, "key schema"),
        (
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
            Misconfigured,
            "key schema",
        ),
        ("Item size has exceeded the maximum allowed size", InvalidArgument, "400 KB"),
        ("Item size to update has exceeded the maximum allowed size", InvalidArgument, "400 KB"),
        (
            "One or more parameter values were invalid: Type mismatch for Index Key gsi1pk Expected: S Actual: NULL "
            "IndexName: gsi1",
            InvalidArgument,
            "gsi1pk is a key of the table's index gsi1, and must be of type S, not NULL",
        ),
        ("Something\n  else", InvalidArgument, "invalid"),
    ],
)
def test_what_dynamodb_finds_invalid(message: str, expected: type[DdbMcpError], words: str) -> None:
    error = said(answer("ValidationException", message))
    assert type(error) is expected
    assert words in error.message
    assert error.quoted == ("Something else" if message.startswith("Something") else None)


def test_a_missing_permission_is_named() -> None:
    prose = "User: arn:aws:iam::1:user/x is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:::key/y"
    assert "kms:Decrypt" in said(answer("AccessDeniedException", prose)).message
    assert "dynamodb:GetItem" in said(answer("AccessDeniedException", "")).message
    assert "sts:AssumeRole" in said(answer("AccessDenied", "", "AssumeRole")).message


def test_a_malformed_role_is_misconfigured() -> None:
    error = said(answer("ValidationError", "1 validation error detected", "AssumeRole"))
    assert type(error) is Misconfigured
    assert "DDB_MCP_ROLE_ARN" in error.next


@pytest.mark.parametrize(
    "failure",
    [
        *(answer(code, operation="GetFunctionConfiguration") for code in (*CODES, "InvalidParameterValueException")),
        *(ResponseParserError("<html>"), botocore.exceptions.EndpointConnectionError(endpoint_url="http://x")),
        *(botocore.exceptions.ConnectTimeoutError(endpoint_url="x"), ValueError("Invalid endpoint: x")),
    ],
    ids=str,
)
def test_an_error_of_lambda_does_not_speak_of_dynamodb(failure: Exception) -> None:
    error = errors.to_error(failure, FailedRequest("lambda", "GetFunctionConfiguration", "the-table", session()))
    text = f"{error.message} {error.next}".replace("DYNAMODB_PREFIX", "")
    assert "dynamodb" not in text.lower()
    assert "the-table" not in text


CLIENT: dict[str, type[DdbMcpError]] = {
    **dict.fromkeys(("ConnectTimeoutError", "ReadTimeoutError"), Timeout),
    **dict.fromkeys(
        (
            *("ConnectionClosedError", "ConnectionError", "EndpointConnectionError", "HTTPClientError"),
            *("IncompleteReadError", "ProxyConnectionError", "ResponseStreamingError", "SSLError"),
            *("ChecksumError", "FlexibleChecksumError"),
        ),
        Unavailable,
    ),
    **dict.fromkeys(
        (
            *("CredentialRetrievalError", "MetadataRetrievalError", "NoAuthTokenError", "NoCredentialsError"),
            *("PartialCredentialsError", "RefreshWithMFAUnsupportedError", "SSOError", "SSOTokenLoadError"),
            *("TokenRetrievalError", "UnauthorizedSSOTokenError", "LoginError", "LoginRefreshRequired"),
            *("LoginInsufficientPermissions", "LoginTokenLoadError", "LoginAuthorizationCodeError"),
        ),
        Unauthenticated,
    ),
}


class AddedTomorrowError(BotoCoreError):
    """A kind of failure that botocore does not have yet."""


KINDS = {name: getattr(botocore.exceptions, name) for name in CLIENT if hasattr(botocore.exceptions, name)}


@pytest.mark.parametrize("kind", [*KINDS.values(), AddedTomorrowError], ids=lambda kind: kind.__name__)
def test_failures_without_an_answer(kind: type[BotoCoreError]) -> None:
    """What is not in `CLIENT` is some configuration that botocore cannot use."""
    failure = kind.__new__(kind)
    Exception.__init__(failure, "SECRET PROSE")
    failure.kwargs = {}
    error = said(failure)
    assert type(error) is CLIENT.get(kind.__name__, Misconfigured)
    assert error.message
    assert "PROSE" not in f"{error.message} {error.next} {error.quoted}"


def test_the_command_that_renews_is_named() -> None:
    assert "aws sso login --profile work" in said(botocore.exceptions.UnauthorizedSSOTokenError()).next
    assert (
        "aws sso login --profile work"
        in said(botocore.exceptions.TokenRetrievalError(provider="sso", error_msg="")).next
    )
    if refresh := getattr(botocore.exceptions, "LoginRefreshRequired", None):  # older versions have no `aws login`
        assert "aws login --profile work" in said(refresh()).next
    for method, words in (
        ("sso", "aws sso login --profile work"),
        ("login", "aws login --profile work"),
        ("env", "AWS_SESSION_TOKEN"),
        ("shared-credentials-file", "aws sso login --profile work"),
        ("assume-role", "profile work"),
        ("custom-process", "profile work, whose source is custom-process"),
        ("iam-role", "iam-role"),
    ):
        used = session()
        used.method = method
        error = errors.to_error(answer("ExpiredTokenException"), FailedRequest("dynamodb", "GetItem", "t", used))
        assert words in error.next


def test_a_page_of_html_is_unavailable() -> None:
    assert type(said(ResponseParserError("<html>"))) is Unavailable


def test_a_bug_stays_a_bug() -> None:
    with pytest.raises(ZeroDivisionError):
        said(ZeroDivisionError())


# The same through the whole store, with AWS's files as users have them


def failure_of(portal: BlockingPortal, store: DirectStore, operation: str = "get") -> DdbMcpError:
    item = {"pk": {"S": "deploy#me#p"}, "sk": {"S": "s"}}
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "get": partial(store.get, Key("deploy#me#p", "s")),
        "put": partial(store.merge, Update(item), NO_CONDITION),
    }
    with pytest.raises(DdbMcpError) as caught:
        portal.call(calls[operation])
    return caught.value


EXPIRED = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": "2020-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("config", "variables", "expected", "words"),
    [
        ("", {}, Unauthenticated, "aws configure"),
        ("", {**CREDENTIALS, "AWS_DEFAULT_REGION": None}, Misconfigured, "AWS_DEFAULT_REGION"),
        ("", {**CREDENTIALS, "AWS_DEFAULT_REGION": "no region!"}, Misconfigured, "AWS_DEFAULT_REGION"),
        ("", {"AWS_PROFILE": "gone"}, Misconfigured, "list-profiles"),
        ("[profile", {**CREDENTIALS}, Misconfigured, "~/.aws/config"),
        ("", {**CREDENTIALS, "AWS_ENDPOINT_URL_DYNAMODB": "localhost:8000"}, Misconfigured, "http://"),
        (
            "[profile work]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\nregion = us-east-1\n"
            "[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://example.com/start\n",
            {"AWS_PROFILE": "work"},
            Unauthenticated,
            "aws sso login --profile work",
        ),
        (
            "[profile work]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\nmfa_serial = m\n"
            "[profile base]\naws_access_key_id = a\naws_secret_access_key = b\n",
            {"AWS_PROFILE": "work"},
            Unauthenticated,
            "aws sts get-caller-identity --profile work",
        ),
        *(
            (
                "[profile work]\ncredential_process = " + process,
                {"AWS_PROFILE": "work"},
                Unauthenticated,
                "process",
            )
            for process in ("false", "echo no JSON", "/no/such/program", f"echo '{json.dumps(EXPIRED)}'")
        ),
        ("", {"AWS_ACCESS_KEY_ID": "a"}, Unauthenticated, "AWS_SECRET_ACCESS_KEY"),
        (
            "",
            {"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such/file", "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r"},
            Unauthenticated,
            "web-identity",
        ),
        (
            "",
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/x"},
            Unauthenticated,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ),
        *(
            ("", {**CREDENTIALS, "AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{port}"}, Misconfigured, "full URL")
            for port in (99999, "port")
        ),
        ("", {**CREDENTIALS, "AWS_ENDPOINT_URL_DYNAMODB": "ftp://127.0.0.1"}, Misconfigured, "AWS_ENDPOINT_URL"),
        (
            "",
            {**CREDENTIALS, "HTTP_PROXY": "no proxy:::", "NO_PROXY": "", "no_proxy": ""},
            Misconfigured,
            "HTTP_PROXY",
        ),
        ("", {**CREDENTIALS, "AWS_SESSION_TOKEN": "token\n"}, Misconfigured, "AWS_SESSION_TOKEN"),
        *(
            (
                "",
                {**CREDENTIALS, "AWS_ENDPOINT_URL_DYNAMODB": "https://{listener}", "AWS_CA_BUNDLE": bundle},
                Misconfigured,
                "AWS_CA_BUNDLE",
            )
            for bundle in ("/no/such/file", "/", __file__)
        ),
    ],
    ids=[
        *("none", "no region", "bad region", "no profile", "bad file", "bad endpoint", "sso", "mfa"),
        *("process fails", "process says nothing", "no process", "process gives old ones", "half"),
        *("web identity", "container", "port out of range", "port no number", "scheme", "proxy", "end of line"),
        *("no bundle", "bundle a folder", "bundle of something else"),
    ],
)
@pytest.mark.parametrize("operation", ["get", "put"])
def test_settings_of_aws(
    portal: BlockingPortal,
    tmp_path: Path,
    config: str,
    variables: dict[str, str | None],
    expected: type[DdbMcpError],
    words: str,
    operation: str,
    listener: str,
) -> None:
    """Nothing is sent, so that the outcome of a write is known."""
    file = tmp_path / "config"
    file.write_text(config)
    home = {"HOME": str(tmp_path), "AWS_CONFIG_FILE": str(file), "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    given = {name: value and value.replace("{listener}", listener) for name, value in variables.items()}
    with aws(f"http://{listener}", **home, **given):
        error = failure_of(portal, direct("t-1"), operation)
    assert type(error) is expected, error.message
    assert words in f"{error.message} {error.next}", error.to_json()


def test_a_damaged_sso_cache_asks_for_a_login(
    portal: BlockingPortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[profile work]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\nregion = us-east-1\n"
        "[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://example.com/start\n"
    )
    cache = tmp_path / ".aws" / "sso" / "cache" / f"{hashlib.sha1(b's').hexdigest()}.json"
    cache.parent.mkdir(parents=True)
    cache.write_text("{}")
    # botocore has looked up the home when it was imported.
    monkeypatch.setattr(botocore.tokens.SSOTokenProvider, "_SSO_TOKEN_CACHE_DIR", str(cache.parent))
    with aws("http://127.0.0.1:1", AWS_PROFILE="work", AWS_CONFIG_FILE=str(config)):
        error = failure_of(portal, direct("t-1"))
    assert type(error) is Unauthenticated
    assert "aws sso login --profile work" in error.next


def test_a_region_that_does_not_exist(portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_host(*arguments: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # The one part that is not real: what the network says of the name depends on where the tests run.
    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    with aws(None, **CREDENTIALS, AWS_DEFAULT_REGION="us-esat-1"):
        error = failure_of(portal, direct("t-1"))
    assert type(error) is Unavailable
    assert "the region" in error.next


@pytest.fixture
def listener() -> Iterator[str]:
    """The address of a socket that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_another_service_at_the_endpoint(portal: BlockingPortal, dynoxide: Engine) -> None:
    with FaultProxy(dynoxide.endpoint) as proxy, aws(proxy.endpoint, **CREDENTIALS):
        proxy.plan(Answer(404, b"<html>Not here</html>", {"Content-Type": "text/html"}))
        store = direct("t-1")
        assert type(failure_of(portal, store)) is Misconfigured
        proxy.plan(dynamodb_error("UnknownOperationException"))
        assert type(failure_of(portal, store)) is Unsupported


def test_a_program_for_credentials_that_does_not_end_holds_up_no_call_for_ever(
    portal: BlockingPortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_module, "AWS_STUCK_SECONDS", 0.5)
    over, program = tmp_path / "over", tmp_path / "program"
    program.write_text(f"until [ -e {over} ]; do sleep 0.1; done")
    (tmp_path / "config").write_text(f"[profile work]\ncredential_process = sh {program}\n")
    with aws("http://127.0.0.1:9", AWS_PROFILE="work", AWS_CONFIG_FILE=str(tmp_path / "config")):
        store = direct("t")
        put = partial(store.put, {"pk": {"S": "deploy#a#p"}, "sk": {"S": "s"}}, NO_CONDITION)
        try:
            for call in (store.info, partial(store.get, Key("deploy#a#p", "s")), put):
                with pytest.raises(Timeout, match="credentials"):
                    portal.call(call)
        finally:
            over.touch()
