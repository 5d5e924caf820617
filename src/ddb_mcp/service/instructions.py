"""The short instructions that `provision` and `info` return."""

import shlex

from ddb_mcp.core.keys import Prefix

URI = "skill://dynamodb-database/SKILL.md"

ENDPOINT = "http://127.0.0.1:8000"


def make_local_environment(table: str, prefix: str, address: str = ENDPOINT) -> dict[str, str]:
    """Return the app's environment for an endpoint on this machine.

    Any credentials do there, and the SDKs insist on some. boto3 reads AWS_DEFAULT_REGION, the JavaScript SDK
    AWS_REGION.
    """
    return {
        "AWS_ENDPOINT_URL_DYNAMODB": address,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "DYNAMODB_TABLE": table,
        "DYNAMODB_PREFIX": prefix,
    }


def write_instructions(
    table: str, prefix: str, region: str, mode: str, *, app: str | None = None, address: str = ENDPOINT
) -> str:
    """Return the facts about this deployment that an agent needs before its first call, with the real names.

    Args:
        app: how app code reaches the items, if not as the mode says.
        address: of the endpoint, in local mode.

    Raises:
        Misconfigured: `prefix` is not one that a deployment can have.
    """
    own = Prefix(prefix, one_segment=True).joined
    environment = f"DYNAMODB_TABLE={shlex.quote(table)} DYNAMODB_PREFIX={shlex.quote(prefix)}"
    if app is None and mode == "local":
        variables = " ".join(
            f"{name}={shlex.quote(value)}" for name, value in make_local_environment(table, prefix, address).items()
        )
        app = (
            "The data is in an SQLite file on this machine. The app reaches the same items with the AWS SDK while "
            f"`ddb-mcp endpoint`, started with this server's settings, serves them at {address}. "
            f"The app's environment: {variables}"
        )
    elif app is None:
        app = f"App code reads {environment} from its environment and uses the AWS SDK on the same items."
    return (
        f"Table {table}, region {region}, mode {mode}. You own the items whose pk starts with {own!r}, for example "
        f'{{"pk": "{own}user#7", "sk": "PROFILE"}}. pk and sk are strings; ttl (a number, epoch seconds) '
        f"expires an item.\n{app}\nKey design, patterns, Lambda code, HTTP with curl: {URI}"
    )
