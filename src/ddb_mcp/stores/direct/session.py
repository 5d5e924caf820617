"""How clients of AWS are made: the session, the assumed role, and how answers are parsed.

Imported on first use only: botocore takes longer to import than a call takes.
"""

import json
import logging
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    IncompleteReadError,
    NoCredentialsError,
    RefreshWithMFAUnsupportedError,
)
from botocore.parsers import JSONParser, ResponseParser, ResponseParserError, ResponseParserFactory
from botocore.utils import JSONFileCache

from ddb_mcp import __version__
from ddb_mcp.core import limits
from ddb_mcp.core.errors import DdbMcpError, Misconfigured

logger = logging.getLogger(__name__)

_CLI_CACHE = "~/.aws/cli/cache"

# They log requests with session tokens, and answers with items, and what fails is told by the errors of ours.
for _name in ("botocore", "urllib3"):
    logging.getLogger(_name).setLevel(logging.ERROR)


def session(role_arn: str | None, session_policy: dict[str, Any]) -> botocore.session.Session:
    """A session on AWS's own chain of credentials and regions, or on a role assumed with them.

    Raises Misconfigured where the policy is too long for a session, and botocore's errors.
    """
    made = botocore.session.Session()
    _never_prompt(made)
    _never_search(made)
    if role_arn is not None:
        made = RoleSession(made, role_arn, session_policy)
        _never_search(made)
    made.register_component("response_parser_factory", _Parsers())
    return made


def ready(session: botocore.session.Session | None) -> None:
    """Find the credentials of a session, and renew them where it is time: before anything is sent.

    Raises botocore's errors; CredentialRetrievalError also for what botocore lets through from a source, such as the
    output of a program that is no JSON, a missing token file, a damaged cache, or credentials that come expired.
    """
    assert session is not None
    try:
        credentials = session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        credentials.get_frozen_credentials()
    except (BotoCoreError, ClientError, DdbMcpError):
        raise
    except Exception as failure:
        if is_no_url(failure):
            raise
        logger.warning("AWS credentials could not be obtained: %s", type(failure).__name__)
        raise CredentialRetrievalError(provider="", error_msg="") from failure


def client(session: botocore.session.Session, service: str) -> Any:
    """A low-level client as boto3 would make it, that tries once and checks what it receives.

    Raises botocore's errors, and a ValueError that `is_no_url`.
    """
    made = session.create_client(service, config=_config())
    urlsplit(made.meta.endpoint_url).port  # noqa: B018  # botocore looks at it when it signs, which is too late
    return made


def is_no_url(failure: Exception) -> bool:
    """Whether botocore, or Python, says that an endpoint is no URL."""
    return isinstance(failure, ValueError) and re.match("[Ii]nvalid endpoint|Port ", str(failure)) is not None


def _config() -> Config:
    return Config(
        connect_timeout=limits.AWS_CONNECT_SECONDS,
        read_timeout=limits.AWS_READ_SECONDS,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=limits.AWS_CONNECTIONS,
        tcp_keepalive=True,
        parameter_validation=False,  # DataService has checked what is sent, and validation takes longer than sending
        user_agent_extra=f"ddb-mcp/{__version__}",
    )


def _never_prompt(session: botocore.session.Session) -> None:
    """Refuse to ask for an MFA code: standard input is the protocol's. Use the session that the AWS CLI keeps."""

    def refuse(prompt: str) -> NoReturn:
        raise RefreshWithMFAUnsupportedError

    provider = session.get_component("credential_provider").get_provider("assume-role")
    provider.cache = JSONFileCache(str(Path(_CLI_CACHE).expanduser()))
    provider._prompter = refuse


def _never_search(session: botocore.session.Session) -> None:
    """Spare the loader its look through the folders of all 400 services, twice a client, to see that one is there.

    It takes a third of the time that making a client takes; a service that is not there is found out a step later.
    """
    session.get_component("data_loader").list_available_services = lambda type_name: _Every()


class _Every(list[str]):
    def __contains__(self, name: object) -> bool:
        return True


class RoleSession(botocore.session.Session):
    """A session with the credentials of a role, renewed before they expire, that is assumed with those of `source`."""

    def __init__(self, source: botocore.session.Session, role_arn: str, policy: dict[str, Any]) -> None:
        super().__init__()
        self.source = source
        self._role_arn = role_arn
        self._policy = json.dumps(policy, separators=(",", ":"))
        if len(self._policy) > limits.SESSION_POLICY_MAX:
            raise Misconfigured(
                f"The session policy for DDB_MCP_ROLE_ARN has {len(self._policy)} characters; AWS takes "
                f"{limits.SESSION_POLICY_MAX}.",
                next="Shorten DDB_MCP_LAMBDA_FUNCTIONS; `ddb-mcp policy` prints the policy.",
            )
        self.register_component("credential_provider", self)

    def load_credentials(self) -> DeferredRefreshableCredentials:
        """The role's credentials, in place of what the chain of providers would find."""
        credentials = self.source.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        fetcher = AssumeRoleCredentialFetcher(
            partial(self.source.create_client, config=_config()),
            credentials,
            self._role_arn,
            extra_args={"RoleSessionName": "ddb-mcp", "Policy": self._policy},
        )
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")


class _Parsers(ResponseParserFactory):
    """Parsers that raise ResponseParserError for whatever is not an answer of AWS."""

    def create_parser(self, protocol_name: str) -> ResponseParser:
        parser = _WholeAnswers(blob_parser=str) if protocol_name == "json" else super().create_parser(protocol_name)
        parser.parse = partial(_parsed, parser.parse)  # type: ignore[method-assign]
        return parser


def _parsed(parse: Callable[[Any, Any], Any], response: Any, shape: Any) -> Any:
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
_JSON = {"structure": dict, "map": dict, "list": list, "integer": int}


class _WholeAnswers(JSONParser):
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
        for name in shape.members.keys() & answer.keys():
            if not isinstance(answer[name], _JSON.get(shape.members[name].type_name, object)):
                raise ResponseParserError(f"{name} is not what it is in DynamoDB")
        return {**answer, "ResponseMetadata": {"HTTPStatusCode": 200}}
