"""Where AWS is, as users set it: endpoints with the wrong scheme, nobody there, regions, variables set to nothing."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from ddb_mcp.core.errors import DdbMcpError, Misconfigured, OutcomeUnknown, Unavailable
from ddb_mcp.core.keys import Key
from ddb_mcp.core.updates import Update
from ddb_mcp.stores.base import NO_CONDITION
from ddb_mcp.stores.direct import session as aws_session
from tests.direct.support import CREDENTIALS, aws, direct
from tests.support.tls import tls_server

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.from_thread import BlockingPortal

    from tests.support.engines import Engine

KEY = Key("deploy#me#p", "s")
ITEM = {"pk": {"S": KEY.pk}, "sk": {"S": KEY.sk}}


def failures(portal: BlockingPortal) -> list[DdbMcpError]:
    """What a read and a write fail with."""
    store = direct("t-1")
    caught = []
    for call in (lambda: store.get(KEY), lambda: store.merge(Update(ITEM), NO_CONDITION)):
        with pytest.raises(DdbMcpError) as failed:
            portal.call(call)
        caught.append(failed.value)
    return caught


@pytest.mark.parametrize(
    "address", ["http://[::1", "http://[::1]x", "http://[zz]:80", "http://localhost:port", "localhost:1"]
)
def test_an_endpoint_that_is_not_a_url(portal: BlockingPortal, address: str) -> None:
    with aws(address, **CREDENTIALS):
        for error in failures(portal):
            assert type(error) is Misconfigured
            assert "AWS_ENDPOINT_URL_DYNAMODB" in error.next


@pytest.mark.parametrize("bundle", [None, ""])
def test_a_certificate_that_is_not_trusted(portal: BlockingPortal, tmp_path: Path, bundle: str | None) -> None:
    """An empty AWS_CA_BUNDLE is none, and not a word to trust everybody."""
    with tls_server(tmp_path) as address, aws(f"https://{address}", **CREDENTIALS, AWS_CA_BUNDLE=bundle):
        for error in failures(portal):
            assert type(error) is Misconfigured
            assert "AWS_CA_BUNDLE" in error.next


def test_https_where_plain_http_is_spoken(portal: BlockingPortal, dynoxide: Engine) -> None:
    with aws(dynoxide.endpoint.replace("http:", "https:"), **CREDENTIALS):
        for error in failures(portal):
            assert type(error) is Misconfigured, error.to_json()
            assert "http://" in error.next


def test_http_where_tls_is_spoken(portal: BlockingPortal, tmp_path: Path) -> None:
    with tls_server(tmp_path) as address, aws(f"http://{address}", **CREDENTIALS):
        read, write = failures(portal)
    assert "https://" in read.next, read.to_json()
    assert type(write) is OutcomeUnknown  # the server hangs up without a word


def test_nothing_listens_on_this_machine(portal: BlockingPortal) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{held.getsockname()[1]}"
        with aws(endpoint, **CREDENTIALS):
            for error in failures(portal):
                assert type(error) is Unavailable
                assert f"Nothing listens at {endpoint}" in error.message
                assert "ddb-mcp endpoint" in error.next


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({"AWS_DEFAULT_REGION": None, "AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "", "AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2", "AWS_REGION": "eu-west-1"}, "eu-west-2"),
        ({"AWS_DEFAULT_REGION": "", "AWS_REGION": "", "AWS_PROFILE": "work"}, "eu-west-3"),
        ({"AWS_DEFAULT_REGION": None, "AWS_REGION": "eu-west-1", "AWS_PROFILE": "work"}, "eu-west-3"),
        ({"AWS_PROFILE": "", "AWS_SESSION_TOKEN": "", "AWS_CA_BUNDLE": ""}, "us-east-1"),
    ],
    ids=str,
)
@pytest.mark.parametrize("role", ["", "arn:aws:iam::123456789012:role/app"])
def test_regions_and_variables_that_are_set_to_nothing(
    portal: BlockingPortal,
    dynoxide: Engine,
    tmp_path: Path,
    variables: dict[str, str | None],
    region: str,
    role: str,
) -> None:
    (tmp_path / "config").write_text("[profile work]\nregion = eu-west-3\n")
    files = {"AWS_CONFIG_FILE": str(tmp_path / "config")}
    table = dynoxide.create_table()  # by boto3's default session, which must not meet these settings
    with aws(dynoxide.endpoint, **{**CREDENTIALS, **files, **variables}):
        made = aws_session.make_session(role, {})
        assert made.get_config_variable("region") == region
        if not role:
            assert portal.call(direct(table).info).region == region


@pytest.mark.parametrize(
    ("variables", "role", "place"),
    [
        ({}, None, {"region": "us-east-1", "partition": "aws"}),
        ({"AWS_DEFAULT_REGION": None}, None, {}),
        ({"AWS_DEFAULT_REGION": "cn-north-1"}, None, {"region": "cn-north-1", "partition": "aws-cn"}),
        (
            {"AWS_ACCOUNT_ID": "123456789012"},
            None,
            {"region": "us-east-1", "partition": "aws", "account": "123456789012"},
        ),
        (
            {"AWS_ACCOUNT_ID": "123456789012"},
            "arn:aws:iam::210987654321:role/app",
            {"region": "us-east-1", "partition": "aws", "account": "210987654321"},
        ),
        (
            {"AWS_PROFILE": "work"},
            None,
            {"region": "us-east-1", "partition": "aws", "account": "111122223333"},
        ),
        ({"AWS_PROFILE": "gone"}, None, {}),
    ],
    ids=str,
)
def test_what_a_policy_can_name(
    tmp_path: Path, variables: dict[str, str | None], role: str | None, place: dict[str, str]
) -> None:
    (tmp_path / "config").write_text("[profile work]\naws_account_id = 111122223333\n")
    with aws(None, AWS_CONFIG_FILE=str(tmp_path / "config"), **variables):
        assert aws_session.locate_table(role) == place


def test_no_mfa_code_is_asked_for(tmp_path: Path) -> None:
    config = (
        "[profile work]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\nmfa_serial = m\n"
        "[profile base]\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    (tmp_path / "config").write_text(config)
    with aws(None, AWS_PROFILE="work", AWS_CONFIG_FILE=str(tmp_path / "config"), HOME=str(tmp_path)):
        chain = aws_session.make_session(None, {}).get_component("credential_provider")
        with pytest.raises(Exception, match="MFA"):
            chain.load_credentials().get_frozen_credentials()
    assert "AWS_PROFILE" not in os.environ
