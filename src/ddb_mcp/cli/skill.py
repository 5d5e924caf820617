"""`ddb-mcp skill`: the skill for agents, as the server publishes it."""

import argparse

from ddb_mcp.config.settings import ModeSettings


def run(settings: ModeSettings, arguments: argparse.Namespace) -> int:
    """Print the skill with its includes. Raises Misconfigured if a file of it is missing."""
    from ddb_mcp.server.skill import load_skill

    print(load_skill().text, end="")
    return 0
