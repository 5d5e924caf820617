"""The short instructions that `provision` and `info` return."""

import shlex

from ddb_mcp.core.keys import Prefix

URI = "skill://dynamodb-database/SKILL.md"

# An engine on localhost takes any credentials, but the SDKs insist on some; boto3 reads AWS_DEFAULT_REGION, the
# JavaScript SDK AWS_REGION.
LOCAL_AWS = "AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local"


def instructions(table: str, prefix: str, region: str, mode: str, *, app: str | None = None) -> str:
    """What an agent must know about this deployment before its first call, with the real names filled in.

    Args:
        app: how app code reaches the items, where it is not as the mode says.

    Raises:
        Misconfigured: `prefix` is not one that a deployment can have.
    """
    own = Prefix(prefix, one_segment=True).joined
    environment = f"DYNAMODB_TABLE={shlex.quote(table)} DYNAMODB_PREFIX={shlex.quote(prefix)}"
    if app is None and mode == "local":
        app = (
            "The data are in an SQLite file on this machine, out of the AWS SDK's reach. For app code, start an engine "
            "that speaks DynamoDB's protocol on localhost and give the app and this server (then in direct mode) one "
            f"environment: AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:8000 {LOCAL_AWS} {environment} ddb-mcp"
        )
    elif app is None:
        app = f"App code reads {environment} from its environment and uses the AWS SDK on the same items."
    return (
        f"Table {table}, region {region}, mode {mode}. You own the items whose pk starts with {own!r}, for example "
        f'{{"pk": "{own}user#7", "sk": "PROFILE"}}. pk and sk are strings; ttl (a number, epoch seconds) '
        f"expires an item.\n{app}\nKey design, patterns, Lambda code, HTTP with curl: {URI}"
    )
