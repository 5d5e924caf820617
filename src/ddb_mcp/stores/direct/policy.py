"""The least that AWS must allow for one deployment, as an IAM policy."""

import re
from typing import Any

from ddb_mcp.config.settings import DirectSettings

_READ = ["GetItem", "Query"]
_WRITE = ["PutItem", "UpdateItem", "DeleteItem"]
_SET_UP = ["CreateTable", "UpdateTimeToLive"]
# Actions that only an app's SDK calls. AWS checks each action of a transaction by the operation of the same name.
_APP_READ = ["BatchGetItem"]
_APP_WRITE = ["BatchWriteItem", "ConditionCheckItem"]


def build_policy(
    settings: DirectSettings, *, app: bool = False, partition: str = "aws", region: str = "*", account: str = "*"
) -> dict[str, Any]:
    """Return the policy for a table and prefix, one statement for each thing that a deployment may be denied.

    Args:
        settings: `table`, `prefix`, `lambda_functions` and `read_only` count.
        app: for the role of the deployment's app, which the endpoint enforces on this machine, not for this server's.
        partition: `aws`, or for example `aws-cn`.
        region: of the table and the functions; `*` for any.
        account: its account's id; `*` for any.
    """
    table = f"arn:{partition}:dynamodb:{region}:{account}:table/{settings.table}"
    resources = [table, f"{table}/index/*"]
    actions = _READ + (_APP_READ if app else [])
    if not settings.read_only:
        actions += _WRITE + (_APP_WRITE if app else [])
    own_key = escape_policy_text(settings.prefix.joined) + ("?*" if app else "*")  # as here, the prefix alone is no key
    statements = [
        {
            **_make_statement("OwnItems", "dynamodb", actions, resources),
            # ForAllValues holds for a request without keys too; Null demands that it has some.
            "Condition": {
                "ForAllValues:StringLike": {"dynamodb:LeadingKeys": [own_key]},
                "Null": {"dynamodb:LeadingKeys": "false"},
            },
        },
        _make_statement("ScanWholeTable", "dynamodb", ["Scan"], resources if app else table),
        _make_statement("TableState", "dynamodb", ["DescribeTable", "DescribeTimeToLive"], table),
    ]
    if not app and not settings.read_only:
        statements.append(_make_statement("Provision", "dynamodb", _SET_UP, table))
    if not app and settings.lambda_functions:
        functions = [_make_function_arn(name, partition, region, account) for name in settings.lambda_functions]
        actions = ["GetFunctionConfiguration"] + ([] if settings.read_only else ["UpdateFunctionConfiguration"])
        statements.append(_make_statement("Functions", "lambda", actions, functions))
    return {"Version": "2012-10-17", "Statement": statements}


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
