"""`ddb-mcp gateway deployments …` and `ddb-mcp purge` on the command line: prompts, messages, whose data they are."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.gateway.process import Operator
from tests.support.forking import DDB_MCP


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


@pytest.mark.parametrize("answer", ["n", "", "nein"])
def test_a_prompt_that_is_refused_ends_with_1_and_deletes_nothing(operator: Operator, answer: str) -> None:
    operator.deployments("add", "alpha")
    item = '{"item": {"pk": "deploy#alpha#a", "sk": "1"}}'
    settings = {"DYNAMODB_PREFIX": "deploy#alpha", "DDB_MCP_MODE": "local"}
    assert operator.run("call", "put", item, **settings).returncode == 0
    for command in (["purge"], ["gateway", "deployments", "remove", "alpha"]):
        ours, theirs = pty.openpty()
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            [DDB_MCP, *command],
            env={**operator.environment, **settings},
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        os.close(ours)
        os.close(theirs)
        assert (done.returncode, done.stdout) == (1, "")
        assert "deploy#alpha" in done.stderr
    assert '"found":true' in operator.run("call", "get", '{"pk": "deploy#alpha#a", "sk": "1"}', **settings).stdout
    assert operator.deployments("list").startswith("alpha\t")


@pytest.mark.parametrize("arguments", [[""], ["alpha", "--prefix", "deploy#"], ["alpha", "--prefix", "x" * 2048]])
def test_a_wrong_prefix_is_not_blamed_on_a_setting(operator: Operator, arguments: list[str]) -> None:
    done = operator.run("gateway", "deployments", "add", *arguments)
    assert done.returncode == 2
    assert "DYNAMODB_PREFIX" not in done.stderr
    assert "--prefix" in done.stderr


def test_direct_storage_wants_a_region(operator: Operator) -> None:
    settings = {"DDB_MCP_MODE": "direct", "DYNAMODB_TABLE": "app-data"}
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    done = operator.run("gateway", "deployments", "list", **settings, **keys)
    assert done.returncode == 2
    assert "AWS_DEFAULT_REGION" in done.stderr
    assert done.stderr.count("\n") == 1
