"""`ddb-mcp policy`: the least-privilege IAM policy, of the server or of the app."""

import argparse
import json

from ddb_mcp.config.settings import DirectSettings, ModeSettings
from ddb_mcp.core.errors import Misconfigured


def add_arguments(parser: argparse.ArgumentParser, flags: argparse.ArgumentParser) -> None:
    """Add the arguments of `ddb-mcp policy`."""
    parser.add_argument("--app", action="store_true", help="the policy for the role of the app, not of this server")


def run(settings: ModeSettings, arguments: argparse.Namespace) -> int:
    """Print the policy as JSON. Raises Misconfigured in another mode than direct."""
    from ddb_mcp.stores.direct.policy import build_policy
    from ddb_mcp.stores.direct.session import locate_table

    if not isinstance(settings, DirectSettings):
        raise Misconfigured(
            f"A policy is for a table in AWS, and the mode is {settings.mode}.",
            next="Set DYNAMODB_TABLE and DYNAMODB_PREFIX for direct mode.",
        )
    policy = build_policy(settings, app=arguments.app, **locate_table(settings.role_arn))
    print(json.dumps(policy, indent=2))
    return 0
