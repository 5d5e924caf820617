"""The policy is the least that works, and means the prefix literally."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ddb_mcp.stores
from ddb_mcp.config.settings import DirectSettings
from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.core.keys import Prefix
from ddb_mcp.stores.direct import session
from ddb_mcp.stores.direct.policy import build_policy, escape_policy_text
from tests.support.strategies import examples


def settings(prefix: str = "deploy#abc123", **more: Any) -> DirectSettings:
    return DirectSettings(table="app-data", prefix=Prefix(prefix), **more)


def by_sid(document: dict[str, Any]) -> dict[str, Any]:
    return {statement["Sid"]: statement for statement in document["Statement"]}


def test_items_by_leading_keys_and_the_rest_apart() -> None:
    document = build_policy(
        settings(lambda_functions=("api", "111122223333:function:worker")), region="eu-west-1", account="1"
    )
    table = "arn:aws:dynamodb:eu-west-1:1:table/app-data"
    assert document == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "OwnItems",
                "Effect": "Allow",
                "Action": [f"dynamodb:{name}" for name in ("GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem")],
                "Resource": [table, f"{table}/index/*"],
                "Condition": {
                    "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["deploy#abc123#*"]},
                    "Null": {"dynamodb:LeadingKeys": "false"},
                },
            },
            {"Sid": "ScanWholeTable", "Effect": "Allow", "Action": ["dynamodb:Scan"], "Resource": table},
            {
                "Sid": "TableState",
                "Effect": "Allow",
                "Action": ["dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive"],
                "Resource": table,
            },
            {
                "Sid": "Provision",
                "Effect": "Allow",
                "Action": ["dynamodb:CreateTable", "dynamodb:UpdateTimeToLive"],
                "Resource": table,
            },
            {
                "Sid": "Functions",
                "Effect": "Allow",
                "Action": ["lambda:GetFunctionConfiguration", "lambda:UpdateFunctionConfiguration"],
                "Resource": [
                    "arn:aws:lambda:eu-west-1:1:function:api",
                    "arn:aws:lambda:eu-west-1:111122223333:function:worker",
                ],
            },
        ],
    }


def test_the_app_may_use_its_own_items_and_the_indexes() -> None:
    document = build_policy(settings(), app=True, region="eu-west-1", account="1")
    table = "arn:aws:dynamodb:eu-west-1:1:table/app-data"
    items = by_sid(document)["OwnItems"]
    assert items["Resource"] == [table, f"{table}/index/*"]
    assert items["Condition"] == {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["deploy#abc123#?*"]},
        "Null": {"dynamodb:LeadingKeys": "false"},
    }
    assert {action.partition(":")[2] for action in items["Action"]} == {
        *("GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem"),
        *("BatchGetItem", "BatchWriteItem", "ConditionCheckItem"),
    }
    allowed = {action for statement in document["Statement"] for action in statement["Action"]}
    assert not allowed & {"dynamodb:CreateTable", "dynamodb:DeleteTable", "dynamodb:UpdateTable"}


def test_read_only_allows_no_write() -> None:
    document = build_policy(settings(read_only=True, lambda_functions=("api",)))
    actions = {action for statement in document["Statement"] for action in statement["Action"]}
    assert actions == {
        *("dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan"),
        *("dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "lambda:GetFunctionConfiguration"),
    }


@pytest.mark.parametrize(
    ("prefix", "pattern"),
    [
        ("dep_abc_", "dep_abc_*"),
        ("a*b#c", "a${*}b#c#*"),
        ("what?#x", "what${?}#x#*"),
        ("${aws:userid}#x", "${$}{aws:userid}#x#*"),
    ],
)
def test_a_prefix_means_itself(prefix: str, pattern: str) -> None:
    statement = by_sid(build_policy(settings(prefix)))["OwnItems"]
    assert statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] == [pattern]


def like(pattern: str, value: str) -> bool:
    """StringLike as IAM documents it: `*` and `?` are wildcards, `${*}`, `${?}` and `${$}` are those characters."""
    parts = re.split(r"(\$\{[*?$]\}|\*|\?)", pattern)
    meaning = {"*": ".*", "?": "."}
    expression = "".join(meaning.get(part) or re.escape(part[2] if part.startswith("${") else part) for part in parts)
    return re.fullmatch(expression, value, re.DOTALL) is not None


@given(st.text(st.sampled_from("ab#*?${}"), min_size=1, max_size=8), st.text(st.sampled_from("ab#*?${}"), max_size=10))
@examples(100)
def test_what_iam_allows_is_what_the_prefix_owns(text: str, pk: str) -> None:
    try:
        prefix = Prefix(text)
    except Misconfigured:
        return
    pattern = escape_policy_text(prefix.joined) + "*"
    assert like(pattern, prefix.joined + pk)
    assert like(pattern, pk) == pk.startswith(prefix.joined)


def test_it_fits_into_a_session() -> None:
    document = build_policy(
        settings("deploy#" + "x" * 100, lambda_functions=tuple(f"function-{at}" for at in range(10)))
    )
    assert len(json.dumps(document, separators=(",", ":"))) <= session.SESSION_POLICY_MAX


def test_every_action_is_one_that_the_code_calls() -> None:
    """And every call of the code has its action, so that neither list goes stale."""
    folder = Path(ddb_mcp.stores.__file__).parent
    source = (folder / "direct/store.py").read_text() + (folder / "direct/provisioning.py").read_text()
    named = set(
        re.findall(
            r'"((?:get|put|update|delete|create|describe)_(?:item|table|time_to_live|function_configuration)|query|scan)"',
            source,
        )
    )
    called = {"".join(map(str.capitalize, name.split("_"))) for name in named}
    document = build_policy(settings(lambda_functions=("api",)))
    allowed = {action.partition(":")[2] for statement in document["Statement"] for action in statement["Action"]}
    assert allowed == called
