"""Clients of AWS: their session, the assumed role, and the parsers of their answers.

Imported on first use only: botocore takes longer to import than a call takes.
"""

import gzip
import json
import logging
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    IncompleteReadError,
    NoCredentialsError,
    RefreshWithMFAUnsupportedError,
)
from botocore.loaders import JSONFileLoader, Loader
from botocore.parsers import JSONParser, ResponseParser, ResponseParserError, ResponseParserFactory
from botocore.utils import JSONFileCache
from pydantic_core import from_json

from ddb_mcp import __version__
from ddb_mcp.config.values import is_http_url
from ddb_mcp.core.errors import DdbMcpError, Misconfigured

AWS_CONNECT_SECONDS = 3.0
AWS_READ_SECONDS = 10.0
AWS_CONNECTIONS = 32
# Characters: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
SESSION_POLICY_MAX = 2048


logger = logging.getLogger(__name__)

_S = TypeVar("_S", bound=botocore.session.Session)

_SERVICES_USED = ("dynamodb", "lambda", "sts", "sso", "sso-oidc", "signin")
_CLI_CACHE = "~/.aws/cli/cache"

# They log requests with session tokens, and answers with items. Our own errors report failures.
for _name in ("botocore", "urllib3"):
    logging.getLogger(_name).setLevel(logging.ERROR)


class AwsSession(botocore.session.Session):
    """A session that remembers where its credentials come from, for the advice how to renew them.

    Attributes:
        source: the session whose credentials a person renews.
        method: where those come from, in botocore's word. Empty if there were none yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.source = self
        self.method = ""


def make_session(role_arn: str | None, session_policy: dict[str, Any]) -> AwsSession:
    """Make a session on AWS's own chain of credentials and regions, or on a role assumed with them.

    Raises Misconfigured if the policy is too long for a session, and botocore's errors.
    """
    unset_empty_variables()
    made = prepare(AwsSession())
    _never_prompt(made)
    if role_arn:
        made = prepare(RoleSession(made, role_arn, session_policy))
    made.register_component("response_parser_factory", _StrictParserFactory())
    return made


def unset_empty_variables() -> None:
    """Remove AWS's empty variables: every other empty variable counts as unset too.

    botocore takes an empty AWS_PROFILE for a profile's name, and an empty AWS_CA_BUNDLE for "check no certificate".
    """
    for name in [name for name in os.environ if name.startswith("AWS_") or name == "REQUESTS_CA_BUNDLE"]:
        if not os.environ[name].strip():
            del os.environ[name]


def prepare(made: _S) -> _S:
    """Return the session with AWS_REGION if botocore finds no region, and with quick loaders."""
    if made.get_config_variable("region") is None and (region := os.environ.get("AWS_REGION")):
        made.set_config_variable("region", region)
    if made.get_config_variable("data_path") is None:
        made.register_component("data_loader", _FastLoader(file_loader=_FastFileLoader()))
    return made


def locate_table(role_arn: str | None) -> dict[str, str]:
    """Return what is known of the table's place without asking AWS: `partition`, `region` and `account`.

    The account is that of the role, else of AWS_ACCOUNT_ID or `aws_account_id` in the AWS profile. Unknown
    parts are omitted.
    """
    unset_empty_variables()
    known: dict[str, str] = {}
    account = role[1] if (role := re.fullmatch(r"arn:[^:]*:iam::([0-9]{12}):.*", role_arn or "")) else ""
    with suppress(BotoCoreError):  # no such profile, no such region, a file that cannot be read
        made = prepare(botocore.session.Session())
        profile = made.full_config.get("profiles", {}).get(made.profile or "default", {})
        account = account or os.environ.get("AWS_ACCOUNT_ID") or profile.get("aws_account_id", "")
        if region := made.get_config_variable("region"):
            known["region"] = str(region)
            known["partition"] = str(made.get_partition_for_region(region))
    return {**known, "account": account} if account else known


def load_credentials(session: AwsSession | None) -> None:
    """Find the credentials of a session, and renew them if they expire soon, before anything is sent.

    Raises botocore's errors; CredentialRetrievalError also for what botocore lets through from a source, such as the
    output of a program that is no JSON, a missing token file, a damaged cache, or credentials that come expired.
    """
    assert session is not None
    try:
        credentials = session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        if session.source is session:
            session.method = str(credentials.method)
        credentials.get_frozen_credentials()
    except (BotoCoreError, ClientError, DdbMcpError):
        raise
    except Exception as failure:
        if is_invalid_url(failure):
            raise
        logger.warning("AWS credentials could not be obtained: %s", type(failure).__name__)
        raise CredentialRetrievalError(provider="", error_msg="") from failure


def make_client(session: botocore.session.Session, service: str) -> Any:
    """Make a low-level client as boto3 would, which tries once and checks what it receives.

    Raises botocore's errors, and a ValueError that `is_invalid_url`.
    """
    made = session.create_client(service, config=_make_config())
    if not is_http_url(made.meta.endpoint_url):  # botocore looks at it when it signs, which is too late
        raise ValueError(_NO_URL)
    return made


_NO_URL = "Invalid endpoint"
_IS_NO_URL = re.compile("^[Ii]nvalid endpoint|^Port |^Invalid IPv6 URL|an IPv4 or IPv6 address$")


def is_invalid_url(failure: Exception) -> bool:
    """Return whether botocore or Python refuses an endpoint because it is not a URL."""
    return isinstance(failure, ValueError) and _IS_NO_URL.search(str(failure)) is not None


def _make_config() -> Config:
    return Config(
        connect_timeout=AWS_CONNECT_SECONDS,
        read_timeout=AWS_READ_SECONDS,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=AWS_CONNECTIONS,
        tcp_keepalive=True,
        parameter_validation=False,  # DataService has checked what is sent, and validation takes longer than sending
        user_agent=f"ddb-mcp/{__version__} botocore/{botocore.__version__}",  # else it is made twice a request
    )


def _never_prompt(session: botocore.session.Session) -> None:
    """Refuse to ask for an MFA code: standard input is the protocol's. Use the session that the AWS CLI keeps."""

    def refuse(prompt: str) -> NoReturn:
        raise RefreshWithMFAUnsupportedError

    provider = session.get_component("credential_provider").get_provider("assume-role")
    provider.cache = JSONFileCache(str(Path(_CLI_CACHE).expanduser()))
    provider._prompter = refuse


class _FastLoader(Loader):
    """Avoids searching the folders of all 400 services, twice per client, to check that one exists.

    The look takes a third of the time that making a client takes.
    """

    def list_available_services(self, type_name: str) -> Any:
        return list(_SERVICES_USED)


class _FastFileLoader(JSONFileLoader):
    """Reads the megabytes of JSON that a client is made from in a third of the time."""

    def load_file(self, file_path: str) -> Any:
        for path, opened in ((f"{file_path}.json", open), (f"{file_path}.json.gz", gzip.open)):
            if os.path.isfile(path):
                with opened(path, "rb") as file:
                    return from_json(file.read())
        return None


class RoleSession(AwsSession):
    """A session with the credentials of a role, renewed before they expire, that is assumed with those of `source`."""

    def __init__(self, source: AwsSession, role_arn: str, policy: dict[str, Any]) -> None:
        super().__init__()
        self.source = source
        self._role_arn = role_arn
        self._policy = json.dumps(policy, separators=(",", ":"))
        if len(self._policy) > SESSION_POLICY_MAX:
            raise Misconfigured(
                f"The session policy for DDB_MCP_ROLE_ARN has {len(self._policy)} characters; AWS takes "
                f"{SESSION_POLICY_MAX}.",
                next="Shorten DDB_MCP_LAMBDA_FUNCTIONS; `ddb-mcp policy` prints the policy.",
            )
        self.register_component("credential_provider", self)

    def load_credentials(self) -> DeferredRefreshableCredentials:
        """Return the role's credentials, in place of what the chain of providers would find."""
        credentials = self.source.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        self.method = str(credentials.method)
        fetcher = AssumeRoleCredentialFetcher(
            partial(self.source.create_client, config=_make_config()),
            credentials,
            self._role_arn,
            extra_args={"RoleSessionName": "ddb-mcp", "Policy": self._policy},
        )
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")


class _StrictParserFactory(ResponseParserFactory):
    """Parsers that raise ResponseParserError for whatever is not an answer of AWS. botocore asks for one a request."""

    @cache  # noqa: B019  # as long as the session
    def create_parser(self, protocol_name: str) -> ResponseParser:
        parser = _StrictJsonParser(blob_parser=str) if protocol_name == "json" else super().create_parser(protocol_name)
        parser.parse = partial(_parse_strictly, parser.parse)  # type: ignore[method-assign]
        return parser


def _parse_strictly(parse: Callable[[Any, Any], Any], response: Any, shape: Any) -> Any:
    try:
        return parse(response, shape)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):  # what botocore meets unprepared
        raise ResponseParserError("not an answer of AWS") from None


_REQUIRED = {
    "QueryOutput": {"Items", "ScannedCount"},
    "ScanOutput": {"Items", "ScannedCount"},
    "DescribeTableOutput": {"Table"},
    "DescribeTimeToLiveOutput": {"TimeToLiveDescription"},
}
"""Members that DynamoDB never leaves out, which its model does not say."""


class _StrictJsonParser(JSONParser):
    """Refuses half an answer, and gives a whole one of DynamoDB as the JSON it is.

    botocore takes a body cut short, or a proxy's page of HTML, for an answer without members: an item "not found". And
    it walks through every value to decode binary, which is kept in base64 here.
    """

    def parse(self, response: Any, shape: Any) -> Any:
        body, length = response["body"], response["headers"].get("content-length")
        if length is not None and len(body) < int(length):
            raise IncompleteReadError(actual_bytes=len(body), expected_bytes=int(length))
        if response["status_code"] != 200:
            return super().parse(response, shape)
        answer = json.loads(body)
        if "__type" in answer or not _REQUIRED.get(shape.name, set()) <= answer.keys():
            raise ResponseParserError("not an answer of DynamoDB")
        return {**answer, "ResponseMetadata": {"HTTPStatusCode": 200}}
