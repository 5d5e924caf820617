"""The skill as a document: it loads, it fits the Agent Skills format, and it names nothing that does not exist."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, get_args

import pytest

from ddb_mcp.core import filters, limits
from ddb_mcp.core.errors import DdbMcpError, Misconfigured
from ddb_mcp.core.keys import SEPARATORS
from ddb_mcp.server import skill
from ddb_mcp.service import arguments, instructions, parameters

if TYPE_CHECKING:
    from pathlib import Path

SKILL = skill.load_skill()

TOOLS: dict[str, type[arguments.Arguments]] = {
    "provision": arguments.ProvisionArguments,
    "info": arguments.InfoArguments,
    "get": arguments.GetArguments,
    "put": arguments.PutArguments,
    "delete": arguments.DeleteArguments,
    "query": arguments.QueryArguments,
    "scan": arguments.ScanArguments,
}


def rows(header: str) -> dict[str, list[str]]:
    """The table under the line `header` in the skill, by first cell."""
    lines = SKILL.text.split(f"\n{header}\n")[1].splitlines()[1:]
    table: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        first, *others = (cell.strip() for cell in line.strip("|").split(" | "))
        table[first] = others
    return table


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z_A-Z]+", text))


# Front matter: https://agentskills.io/specification


def test_front_matter_is_an_agent_skill() -> None:
    assert SKILL.front_matter.keys() == {"name", "description"}
    name, description = SKILL.front_matter["name"], SKILL.front_matter["description"]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert len(name) <= 64
    assert 0 < len(description) <= 1024
    assert f"skill://{name}/SKILL.md" == instructions.URI


@pytest.mark.parametrize("name", ["name", "description"])
def test_front_matter_means_the_same_to_a_yaml_parser(name: str) -> None:
    # A plain YAML scalar: no mapping or comment inside, no indicator in front.
    value = SKILL.front_matter[name]
    assert ": " not in value
    assert " #" not in value
    assert value[0].isalnum()
    assert value == value.strip()


def test_description_names_the_triggers() -> None:
    assert words(SKILL.front_matter["description"]) >= {*TOOLS, "DynamoDB", "DYNAMODB_TABLE", "DYNAMODB_PREFIX", "TTL"}


def test_skill_is_small_enough_to_read() -> None:
    # The specification advises under 500 lines; the bytes are our own aim.
    assert SKILL.text.count("\n") < 500
    assert SKILL.size <= 27_500


# Loading


def test_include_is_resolved_in_place() -> None:
    assert "{{include" not in SKILL.text
    before, _, after = SKILL.text.partition("~/.rebyte.ai/auth.json")
    assert "## Without MCP" in before
    assert "dynamodb provision" in after


@pytest.mark.parametrize("name", ["absent.md", "../secret.md", "sub/part.md", "", ".."])
def test_include_that_is_no_file_of_the_skill_stops_the_start(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "skill"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "part.md").write_text("part")
    (tmp_path / "secret.md").write_text("secret")
    (folder / "SKILL.md").write_text(f"---\nname: x\n---\n{{{{include:{name}}}}}\n")
    with pytest.raises(Misconfigured, match=re.escape(repr(name))) as caught:
        skill.load_skill(folder)
    assert caught.value.next


def test_missing_skill_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"SKILL\.md"):
        skill.load_skill(tmp_path)


def test_the_skill_describes_the_served_text(tmp_path: Path) -> None:
    # Line ends as a checkout on Windows has them: what is served, and so the digest, is the same everywhere.
    (tmp_path / "SKILL.md").write_bytes(b"---\r\nname: x\r\n---\r\n{{include:part.md}}\r\n")
    (tmp_path / "part.md").write_bytes("grüße\r\n".encode())
    loaded = skill.load_skill(tmp_path)
    served = "---\nname: x\n---\ngrüße\n".encode()
    assert loaded.front_matter == {"name": "x"}
    assert (loaded.text.encode(), loaded.size) == (served, len(served))


# What the skill says of the tools


def test_tool_table_lists_every_tool_and_parameter() -> None:
    table = rows("| tool | arguments | returns |")
    assert {tool.strip("`"): words(" ".join(re.findall("`.*?`", cells[0]))) for tool, cells in table.items()} == {
        tool: set(model.model_fields) for tool, model in TOOLS.items()
    }
    for tool, cells in table.items():
        optional = set(re.findall(r"(\w+)\?", cells[0]))
        assert not any(TOOLS[tool.strip("`")].model_fields[name].is_required() for name in optional)


def test_limits_are_those_of_the_code() -> None:
    assert f"`limit` may differ: {arguments.LIMIT_DEFAULT} by default, {limits.LIMIT_MAX} at most" in SKILL.text
    assert f"`items` and `keys` take up to {parameters.BATCH_MAX}" in SKILL.text
    assert f"`pk` {limits.PK_MAX_BYTES} bytes, `sk` {limits.SK_MAX_BYTES}" in SKILL.text
    assert f"`{' '.join(SEPARATORS)}`" in SKILL.text
    views = get_args(arguments.View)
    assert all(f"`{view}`" in SKILL.text for view in views)


def test_error_table_lists_every_code() -> None:
    codes = {code for first in rows("| error code | what to do |") for code in re.findall("`(.*?)`", first)}
    assert codes == {error.code for error in DdbMcpError.__subclasses__()}


def test_operators_are_those_of_the_filter() -> None:
    (named,) = re.findall(r"Operators: `(.*?)`", SKILL.text)
    assert tuple(named.split()) == filters.OPERATORS


# Instructions


@pytest.mark.parametrize("mode", ["local", "direct", "platform"])
@pytest.mark.parametrize(
    ("prefix", "key"),
    [("deploy#abc123", '"deploy#abc123#user#7"'), ("dep_abc123_", '"dep_abc123_user#7"')],
)
def test_instructions_carry_the_real_names(mode: str, prefix: str, key: str) -> None:
    text = instructions.write_instructions("my-table", prefix, "eu-west-1", mode)
    assert len(text.encode()) < 1200
    for fact in ("my-table", "eu-west-1", f"mode {mode}", key, "DYNAMODB_TABLE=my-table", instructions.URI):
        assert fact in text
    assert ("SQLite" in text) is (mode == "local")
    assert ("AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:8000" in text) is (mode == "local")


def test_instructions_recipe_survives_a_shell() -> None:
    text = instructions.write_instructions("my-table", "de'p $x", "us-east-1", "local")
    (recipe,) = re.findall("(AWS_ENDPOINT.*)", text)
    echo = 'echo "$DYNAMODB_PREFIX $AWS_DEFAULT_REGION"'
    done = subprocess.run(["bash", "-c", f"export {recipe}; {echo}"], capture_output=True, text=True, check=True)
    assert done.stdout == "de'p $x us-east-1\n"


def test_importing_the_skill_is_cheap() -> None:
    code = "import sys, ddb_mcp.server.skill; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"mcp", "pydantic", "boto3", "httpx", "cryptography"} & set(done.stdout.split())
