"""`ddb-mcp gateway deployments …` and `ddb-mcp purge` on the command line: prompts, messages, what a registry is for."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.gateway.process import DDB_MCP, Operator


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


@pytest.mark.parametrize("answer", ["n", "", "nein"])
def test_a_prompt_that_is_refused_ends_with_1_and_deletes_nothing(operator: Operator, answer: str) -> None:
    registry = str(operator.folder / "registry.sqlite3")
    operator.deployments("add", "alpha")
    item = '{"item": {"pk": "deploy#alpha#a", "sk": "1"}}'
    settings = {"DYNAMODB_PREFIX": "deploy#alpha", "DDB_MCP_MODE": "local"}
    assert operator.run("call", "put", item, **settings).returncode == 0
    for command in (["purge"], ["gateway", "deployments", "remove", "alpha", "--registry", registry]):
        ours, theirs = pty.openpty()
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            [DDB_MCP, *command],
            env={**operator.environment, **settings},
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        os.close(ours)
        os.close(theirs)
        assert (done.returncode, done.stdout) == (1, "")
        assert "deploy#alpha" in done.stderr
    assert '"found":true' in operator.run("call", "get", '{"pk": "deploy#alpha#a", "sk": "1"}', **settings).stdout
    assert operator.deployments("list").startswith("alpha\t")
