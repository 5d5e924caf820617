"""A role assumed with the policy as session policy, on ministack's STS.

ministack enforces session policies but does not know the condition key `dynamodb:LeadingKeys`, so that the statement
for items allows nothing there. What can be shown is that the policy goes along as it is, and that it limits.
"""

from __future__ import annotations

import datetime
import json
import re
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import boto3
import pytest

from ddb_mcp.config.settings import DirectSettings
from ddb_mcp.core.errors import Forbidden, Misconfigured, Unauthenticated, Unavailable
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.core.updates import Update
from ddb_mcp.stores.base import NO_CONDITION, Read
from ddb_mcp.stores.direct import aws as aws_module
from ddb_mcp.stores.direct.policy import build_policy
from tests.direct.support import CREDENTIALS, aws, direct
from tests.support.engines import client_options
from tests.support.faults import Answer, Cut, FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.from_thread import BlockingPortal

    from tests.support.engines import Engine

KEY = Key("deploy#me#p", "s")
SCAN = Read(pk_prefix="deploy#me#")


@pytest.fixture(scope="module")
def role(ministack: Engine) -> str:
    iam = boto3.client("iam", endpoint_url=ministack.endpoint, **client_options())
    name = f"app-{uuid.uuid4().hex[:8]}"
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=allow("sts:AssumeRole", Principal={"AWS": "*"}))[
        "Role"
    ]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=allow("dynamodb:*", Resource="*"))
    return arn


def allow(action: str, **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, **more}]})


@pytest.fixture
def proxy(ministack: Engine) -> Iterator[FaultProxy]:
    with FaultProxy(ministack.endpoint) as proxy, aws(proxy.endpoint, **CREDENTIALS):
        yield proxy


def assumed(proxy: FaultProxy) -> list[str]:
    """The bodies of the requests to STS."""
    return [request.body.decode() for request in proxy.requests if b"Action=AssumeRole" in request.body]


def test_the_policy_goes_along_and_limits_the_role(
    portal: BlockingPortal, ministack: Engine, proxy: FaultProxy, role: str
) -> None:
    table = ministack.create_table()
    store = direct(table, role_arn=role, read_only=True)
    assert portal.call(store.scan, SCAN).items == []
    made = portal.call(store.provision, _quiet)
    assert made.details["ttl"] == "disabled"
    assert "dynamodb:UpdateTimeToLive" in made.details["warnings"][0]  # which the role itself may
    (body,) = assumed(proxy)
    sent = parse_qs(body)
    assert sent["RoleArn"] == [role]
    expected = build_policy(DirectSettings(table=table, prefix=Prefix("deploy#me"), read_only=True))
    assert json.loads(sent["Policy"][0]) == expected
    keys = {re.findall(r"Credential=(\w+)/", request.headers["Authorization"])[0] for request in proxy.requests}
    assert len(keys) == 2  # ours for STS, the role's for everything else


def test_a_role_may_do_what_the_policy_allows(
    portal: BlockingPortal, ministack: Engine, proxy: FaultProxy, role: str
) -> None:
    made = portal.call(direct(ministack.create_table(), role_arn=role).provision, _quiet)
    assert made.details == {"ttl": "enabled"}


async def _quiet(message: str) -> None:
    pass


def test_credentials_are_renewed_before_they_expire(
    portal: BlockingPortal, ministack: Engine, proxy: FaultProxy, role: str
) -> None:
    sts = boto3.client("sts", endpoint_url=ministack.endpoint, **client_options())
    session = sts.assume_role(RoleArn=role, RoleSessionName="short")["Credentials"]
    expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
    answer = f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
        <AccessKeyId>{session["AccessKeyId"]}</AccessKeyId><SecretAccessKey>{session["SecretAccessKey"]}</SecretAccessKey>
        <SessionToken>{session["SessionToken"]}</SessionToken><Expiration>{expiry:%Y-%m-%dT%H:%M:%SZ}</Expiration>
        </Credentials></AssumeRoleResult></AssumeRoleResponse>"""
    proxy.plan(Answer(200, answer.encode(), {"Content-Type": "text/xml"}), on="/")
    store = direct(ministack.create_table(), role_arn=role)
    portal.call(store.scan, SCAN)
    portal.call(store.scan, SCAN)
    assert len(assumed(proxy)) == 2
    portal.call(store.scan, SCAN)
    assert len(assumed(proxy)) == 2


def test_a_role_that_may_not_be_assumed_is_forbidden(
    portal: BlockingPortal, ministack: Engine, proxy: FaultProxy, role: str
) -> None:
    denied = b"""<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
        <Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"""
    proxy.plan(Answer(403, denied, {"Content-Type": "text/xml"}), on="/")
    store = direct(ministack.create_table(), role_arn=role)
    with pytest.raises(Forbidden, match="sts:AssumeRole"):
        portal.call(store.scan, SCAN)
    assert portal.call(store.scan, SCAN).items == []


def test_without_credentials_there_is_no_role(portal: BlockingPortal, ministack: Engine, role: str) -> None:
    with aws(ministack.endpoint), pytest.raises(Unauthenticated, match="no AWS credentials"):
        portal.call(direct("t-1", role_arn=role).get, KEY)


def test_a_policy_too_long_for_a_session_is_misconfigured(portal: BlockingPortal, proxy: FaultProxy, role: str) -> None:
    many = tuple(f"a-rather-long-function-name-{at}" for at in range(100))
    with pytest.raises(Misconfigured, match="2048"):
        portal.call(direct("t-1", role_arn=role, lambda_functions=many).get, KEY)
    assert proxy.requests == []


@pytest.mark.parametrize(
    "role", ["app-role", "arn:aws:iam::123456789012:role/ app", "arn:aws:iam::123456789012:user/x"]
)
def test_a_role_is_named_by_its_arn(role: str) -> None:
    with pytest.raises(Misconfigured, match="not the ARN of a role"):
        direct("t-1", role_arn=role)


def test_a_role_that_is_none_is_misconfigured(portal: BlockingPortal, proxy: FaultProxy, role: str) -> None:
    invalid = b"""<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
        <Code>ValidationError</Code><Message>no</Message></Error></ErrorResponse>"""
    proxy.plan(Answer(400, invalid, {"Content-Type": "text/xml"}), on="/")
    with pytest.raises(Misconfigured) as caught:
        portal.call(direct("t-1", role_arn=role).get, KEY)
    assert "DDB_MCP_ROLE_ARN" in caught.value.next


@pytest.mark.usefixtures("impatient")
def test_a_role_that_is_not_answered_for_leaves_no_outcome_unknown(
    portal: BlockingPortal, ministack: Engine, proxy: FaultProxy, role: str
) -> None:
    proxy.plan(Cut(0), times=aws_module.AWS_ATTEMPTS, on="/")
    item = {"pk": {"S": KEY.pk}, "sk": {"S": KEY.sk}}
    with pytest.raises(Unavailable) as caught:
        portal.call(direct(ministack.create_table(), role_arn=role).merge, Update(item), NO_CONDITION)
    assert "unknown" not in caught.value.message
