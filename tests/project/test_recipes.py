"""Every block of docs/recipes.md and docs/endpoint.md, run in a shell, in the order of the page.

The AWS command line and the `sqlite3` program are stand-ins: the first notes its words, the second is Python's SQLite.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from ddb_mcp.web.listening import listen
from tests.support.engines import client_options, environment

if TYPE_CHECKING:
    from tests.support.engines import Engine

DOCS = Path(__file__).resolve().parents[2] / "docs"
BIN = Path(sys.executable).parent
SQLITE = """
import sqlite3, sys
_, file, command = sys.argv
sqlite3.connect(file).backup(sqlite3.connect(command.removeprefix(".backup ")))
"""
WAIT = "for i in $(seq 300); do ddb-mcp doctor | grep -q 'serves this file' && break; sleep 0.1; done"


def blocks(page: str, heading: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8").partition(f"{heading}\n")[2]
    return re.findall(r"^```(?:bash|sh)\n(.*?)^```$", text.partition("\n## ")[0], re.MULTILINE | re.DOTALL)


class Shell:
    """A folder with the programs that the blocks call."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        programs = folder / "programs"
        programs.mkdir()
        python = f"#!{sys.executable}\n"
        noted = "import json, sys\nprint(json.dumps(sys.argv[1:]), file=open('aws.jsonl', 'a'))\n"
        for name, script in (("aws", noted), ("sqlite3", SQLITE)):
            (programs / name).write_text(python + script)
            (programs / name).chmod(0o755)
        self.environment = environment(HOME=str(folder), DDB_MCP_LOCAL_PATH=str(folder / "items.sqlite3"), **variables)
        self.environment["PATH"] = f"{programs}:{BIN}:{self.environment['PATH']}"

    def run(self, script: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def scan(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self.run("ddb-mcp call scan"))["items"]
        return items


def test_every_block_is_run_here() -> None:
    text = (DOCS / "recipes.md").read_text(encoding="utf-8")
    found = [block for heading in HEADINGS for block in blocks("recipes.md", f"## {heading}")]
    assert len(re.findall(r"^```bash$", text, re.MULTILINE)) == len(found)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == list(HEADINGS)


HEADINGS = (
    "Two apps on one machine",
    "Seed a test database",
    "Reset it",
    "Add an access pattern later",
    "Back up and restore",
    "Move to AWS",
    "Give the Lambda its role and environment",
)


def serve(block: str, port: str) -> str:
    """The block on a free port, with its endpoint in the background until it serves the file."""
    with listen("127.0.0.1", 0) as free:
        block = block.replace(port, str(free.getsockname()[1]))
    *before, command = block.rstrip("\n").split("\n")
    assert command.startswith("ddb-mcp endpoint")
    return "\n".join([*before, f"{command} & trap 'kill %1' EXIT", WAIT])


def test_two_apps_on_one_machine(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    for block, port, prefix in zip(
        blocks("recipes.md", "## Two apps on one machine"), ("8001", "8002"), ("shop", "blog"), strict=True
    ):
        stored = shell.run(serve(block, port) + "\nddb-mcp doctor\nddb-mcp call info")
        assert "All is well." in stored
        assert json.loads(stored.splitlines()[-1])["prefix"] == f"deploy#{prefix}"


def test_seed_reset_index_and_back_up(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    (seed,) = blocks("recipes.md", "## Seed a test database")
    assert shell.run(seed) == "3 items imported\n"
    seeded = shell.scan()
    shell.run("""ddb-mcp call put item='{"pk": "deploy#local#x", "sk": "1"}'""")
    (reset,) = blocks("recipes.md", "## Reset it")
    shell.run(reset)
    assert shell.scan() == seeded
    (index,) = blocks("recipes.md", "## Add an access pattern later")
    (found,) = json.loads(shell.run(index).splitlines()[-1])["items"]
    assert found["sk"] == "ORDER#2026-11-01"
    items = shell.scan()
    export, copy, restore = blocks("recipes.md", "## Back up and restore")
    shell.run(export)
    assert shell.scan() == items
    shell.run(copy)
    shell.run("ddb-mcp purge --yes")
    shell.run(restore)
    assert shell.scan() == items


def test_move_to_aws_and_the_role_of_the_lambda(tmp_path: Path, dynoxide: Engine) -> None:
    credentials = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    shell = Shell(tmp_path, AWS_ENDPOINT_URL_DYNAMODB=dynoxide.endpoint, **credentials)
    shell.run(blocks("recipes.md", "## Seed a test database")[0])
    table = f"app-data-{tmp_path.name}"
    (move,) = blocks("recipes.md", "## Move to AWS")
    shell.run(move.replace("app-data", table))
    client: Any = boto3.client("dynamodb", endpoint_url=dynoxide.endpoint, **client_options())
    stored = {item["pk"]["S"] for item in client.scan(TableName=table)["Items"]}
    assert stored == {"deploy#shop#user#7", "deploy#shop#user#8"}
    (role,) = blocks("recipes.md", "## Give the Lambda its role and environment")
    *before, provision = role.rstrip("\n").split("\n")  # the functions have tests of their own, in tests/direct
    assert provision == "DDB_MCP_LAMBDA_FUNCTIONS=shop-api ddb-mcp call provision"
    shell.run("\n".join(before))
    (words,) = (json.loads(line) for line in (tmp_path / "aws.jsonl").read_text().splitlines())
    assert words[:2] == ["iam", "put-role-policy"]
    policy = json.loads((tmp_path / words[-1].removeprefix("file://")).read_text())
    assert "deploy#shop#" in json.dumps(policy)


def test_the_blocks_of_the_endpoints_page(tmp_path: Path) -> None:
    """The endpoint in the background, then an app in the environment that the page gives."""
    start, *variables = blocks("endpoint.md", "# Your app on this machine")
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    command = start.partition(" #")[0].strip()
    app = (
        "import boto3, os\n"
        "table = boto3.resource('dynamodb').Table(os.environ['DYNAMODB_TABLE'])\n"
        "table.put_item(Item={'pk': os.environ['DYNAMODB_PREFIX'] + '#app', 'sk': '1'})\n"
    )
    given = "".join(variables).replace(":8000", f":{port}")
    waiting = f"(export AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:{port}; {WAIT})"
    serving = f"ddb-mcp call provision\n{command} --port {port} & trap 'kill %1' EXIT\n{waiting}\n"
    shell = Shell(tmp_path)
    shell.run(f"export PYTHONWARNINGS=ignore\n{serving}{given}\npython3 - <<'END'\n{app}END\n")
    assert shell.scan() == [{"pk": "deploy#local#app", "sk": "1"}]
