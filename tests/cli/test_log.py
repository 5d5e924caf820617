"""Lines for people: nothing in them can steer a terminal."""

from __future__ import annotations

import logging

import pytest

from ddb_mcp.core.process import EscapingFormatter
from tests.protocol.wire import clean_environment
from tests.support.commands import run_command


@pytest.mark.parametrize("steering", ["\x1b[2J", "\x9b2J", "\u202e", "\n2026 ERROR forged", "\U000e0041"])
def test_the_log_escapes_what_steers_a_terminal(steering: str) -> None:
    record = logging.LogRecord("name", logging.WARNING, __file__, 1, "said %s", (f"a{steering}b",), None)
    line = EscapingFormatter("%(levelname)s: %(message)s").format(record)
    assert line.startswith("WARNING: said a\\")
    assert steering[0] not in line


def test_an_error_on_the_command_line_escapes_it_too() -> None:
    done = run_command("doctor", environment=clean_environment(DDB_MCP_MODE="local\u202ex"))
    assert done.returncode == 2
    assert "\u202e" not in done.stderr
