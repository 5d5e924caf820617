"""The least that AWS must allow for one deployment, as an IAM policy."""

import re
from typing import Any

from ddb_mcp.config.settings import DirectSettings

_READ = ["GetItem", "Query"]
_WRITE = ["PutItem", "UpdateItem", "DeleteItem"]
_SET_UP = ["CreateTable", "UpdateTimeToLive"]
# What an app's SDK calls beyond that. AWS checks each action of a transaction by the operation of the same name.
_APP_READ = ["BatchGetItem"]
_APP_WRITE = ["BatchWriteItem", "ConditionCheckItem"]


def build_policy(
    settings: DirectSettings, *, partition: str = "aws", region: str = "*", account: str = "*"
) -> dict[str, Any]:
    """Return the policy for a table and prefix, one statement for each thing that a deployment may be denied.

    Args:
        settings: `table`, `prefix`, `lambda_functions` and `read_only` count.
        partition: `aws`, or for example `aws-cn`.
        region: of the table and the functions; `*` for any.
        account: its account's id; `*` for any.
    """
    table = f"arn:{partition}:dynamodb:{region}:{account}:table/{settings.table}"
    own = [table, f"{table}/index/*"]
    statements = [
        _make_items_statement(settings, _READ if settings.read_only else _READ + _WRITE, own, "*"),
        _make_statement("ScanWholeTable", "dynamodb", ["Scan"], table),
        _make_statement("TableState", "dynamodb", ["DescribeTable", "DescribeTimeToLive"], table),
    ]
    if not settings.read_only:
        statements.append(_make_statement("Provision", "dynamodb", _SET_UP, table))
    if settings.lambda_functions:
        functions = [_make_function_arn(name, partition, region, account) for name in settings.lambda_functions]
        actions = ["GetFunctionConfiguration"] + ([] if settings.read_only else ["UpdateFunctionConfiguration"])
        statements.append(_make_statement("Functions", "lambda", actions, functions))
    return {"Version": "2012-10-17", "Statement": statements}


def build_app_policy(
    settings: DirectSettings, *, partition: str = "aws", region: str = "*", account: str = "*"
) -> dict[str, Any]:
    """Return the policy for the role of the deployment's app, which the endpoint enforces on this machine.

    Args: as of `build_policy`.
    """
    table = f"arn:{partition}:dynamodb:{region}:{account}:table/{settings.table}"
    resources = [table, f"{table}/index/*"]
    actions = _READ + _APP_READ + ([] if settings.read_only else _WRITE + _APP_WRITE)
    statements = [
        _make_items_statement(settings, actions, resources, "?*"),  # as here, the prefix alone is no key
        _make_statement("ScanWholeTable", "dynamodb", ["Scan"], resources),
        _make_statement("TableState", "dynamodb", ["DescribeTable", "DescribeTimeToLive"], table),
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _make_items_statement(
    settings: DirectSettings, actions: list[str], resource: str | list[str], rest: str
) -> dict[str, Any]:
    """Return the statement for operations on items. Each partition key must be the prefix and a match of `rest`."""
    return {
        **_make_statement("OwnItems", "dynamodb", actions, resource),
        # ForAllValues holds for a request without keys too; Null demands that it has some.
        "Condition": {
            "ForAllValues:StringLike": {"dynamodb:LeadingKeys": [escape_policy_text(settings.prefix.joined) + rest]},
            "Null": {"dynamodb:LeadingKeys": "false"},
        },
    }


def escape_policy_text(text: str) -> str:
    """Escape text for use in a policy's values.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#policy-vars-specialchars
    """
    return re.sub(r"[*?$]", lambda found: "${" + found[0] + "}", text)


def _make_statement(sid: str, service: str, actions: list[str], resource: str | list[str]) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": [f"{service}:{action}" for action in actions],
        "Resource": resource,
    }


def _make_function_arn(name: str, partition: str, region: str, account: str) -> str:
    """Return the ARN of a function by its name, by `account:function:name`, or by its ARN, as Lambda accepts it."""
    if name.startswith("arn:"):
        return name
    its_account, _, own_name = name.rpartition(":function:")
    return f"arn:{partition}:lambda:{region}:{its_account or account}:function:{own_name}"
