"""`ddb-mcp call`: arguments as words and as JSON, exact digits, all pages."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from ddb_mcp.cli.commands import TOOLS
from ddb_mcp.cli.main import main
from ddb_mcp.server.tools import list_tools
from tests.gateway.process import Operator

PK = "deploy#local#user#7"


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


def call(operator: Operator, *words: str) -> dict[str, Any]:
    done = operator.run("call", *words)
    assert (done.returncode, done.stderr) == (0, "")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def refused(operator: Operator, *words: str) -> str:
    done = operator.run("call", *words)
    assert (done.returncode, done.stdout) in ((1, ""), (2, ""))
    return done.stderr


@pytest.mark.parametrize(
    "words",
    [
        [f"pk={PK}", "sk=10"],
        [json.dumps({"pk": PK}), "sk=10"],
        [json.dumps({"pk": PK, "sk": "10"}), 'attributes=["n"]'],
        ["--dynamodb-prefix", "deploy#local", f"pk={PK}", "--read-only", "sk=10"],
    ],
)
def test_words_and_json_are_the_same_arguments(operator: Operator, words: list[str]) -> None:
    call(operator, "put", f'item={{"pk": "{PK}", "sk": "10", "n": 1}}')
    assert call(operator, "get", *words)["item"] == {"pk": PK, "sk": "10", "n": 1}


def test_words_of_every_kind(operator: Operator) -> None:
    items = [{"pk": PK, "sk": str(at), "n": at} for at in range(5)]
    call(operator, "put", f"items={json.dumps(items)}", "create_only=true")
    page = call(operator, "query", f"pk={PK}", 'filter={"n": {"ge": 1}}', "limit=2", "descending=true", "sk_from=1")
    assert [item["sk"] for item in page["items"]] == ["4", "3"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["get", f"pk={PK}", "sk=a", "sk=b"], "twice"),
        (["get", json.dumps({"pk": PK, "sk": "a"}), "pk=x"], "twice"),
        (["get", f"pk={PK}", "a"], "NAME=VALUE"),
        (["get", PK, "a"], "JSON"),
        (["get", f"pk={PK}", "--all"], "--all is for query and scan"),
        (["get", f"pk={PK}", "skk=a"], "Did you mean sk?"),
    ],
)
def test_words_that_are_none(operator: Operator, words: list[str], said: str) -> None:
    assert said in refused(operator, *words)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("null", ""),
        ("[]", ""),
        ("{}", ""),
        ('"{}"', ""),
        ("[1]", "must be an object"),
        ("5", "must be an object"),
        ('"x"', "must be an object"),
        ("true", "must be an object"),
        ("", "not valid JSON"),
        ("NaN", "NaN"),
        ('{"limit": NaN}', "NaN"),
        ('{"limit": 1, "limit": 2}', "twice"),
        ('{"limit": 1e999999999999}', "limit"),
        ('{"limit": ' + "9" * 2000 + "}", "2000 characters"),
        ("[" * 100_000, "nested"),
        ('{"filter": ' + '{"a":' * 100 + "1" + "}" * 101, "filter"),
        ('{"cursor": null, "view": null}', ""),
        ('{"cursor": "x"}', "cursor"),
    ],
)
@pytest.mark.parametrize("more", [[], ["limit=3"], ["--all"]], ids=["alone", "with a word", "--all"])
def test_json_of_every_kind(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: str,
    said: str,
    more: list[str],
) -> None:
    monkeypatch.setenv("DDB_MCP_LOCAL_PATH", str(tmp_path / "items.sqlite3"))
    if '"limit"' in given and "limit=3" in more:
        said = "twice" if "1e9" in given else said
    code = main(["call", "scan", given, *more])
    out, errors = capsys.readouterr()
    assert (bool(code), "items" in out) == (bool(said), not said), errors
    assert said in errors


NUMBERS = ["0.123456789012345678", "12345678901234567890123456789012345678", "1e-30"]


@pytest.mark.parametrize("number", NUMBERS)
def test_digits_are_kept_in_items_filters_and_expectations(operator: Operator, number: str) -> None:
    item = f'{{"pk": "{PK}", "sk": "a", "n": {number}}}'
    call(operator, "put", f'{{"item": {item}}}')
    stored = operator.run("export").stdout
    assert call(operator, "scan", f'{{"filter": {{"n": {number}}}}}')["count"] == 1
    assert call(operator, "scan", f'filter={{"n": {number}}}')["count"] == 1
    call(operator, "put", f'{{"item": {item}, "expect": {{"n": {number}}}}}')
    assert operator.run("export").stdout == stored
    if number == NUMBERS[0]:
        assert json.loads(stored)["Item"]["n"] == {"N": number}
        assert call(operator, "scan", 'filter={"n": 0.12345678901234568}')["count"] == 0


def test_all_pages_are_one_result(operator: Operator) -> None:
    for start in (0, 100):
        items = [{"pk": PK, "sk": f"{at:04}", "text": "x" * 500} for at in range(start, start + 100)]
        call(operator, "put", json.dumps({"items": items}))
    assert not call(operator, "query", f"pk={PK}", "limit=200")["complete"]
    for words in (["query", f"pk={PK}"], ["scan"], ["scan", "limit=7"], ["query", f"pk={PK}", "view=keys", "limit=9"]):
        result = call(operator, *words, "--all")
        assert (result["count"], result["complete"], len(result["items"])) == (200, True, 200)
        assert "cursor" not in result
        assert [item["sk"] for item in result["items"]] == [f"{at:04}" for at in range(200)]
    assert call(operator, "scan", "view=count", "--all", "--read-budget", "30")["count"] == 200
    done = operator.run("call", "scan", "view=summary", "--all", "--read-budget", "90")
    pages = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(group["count"] for page in pages for group in page["groups"]) == 200
    assert [page["complete"] for page in pages][-1] is True


def test_help_has_an_example_and_the_tools(operator: Operator) -> None:
    shown = operator.run("call", "--help").stdout
    assert "provision, info, get, put, delete, query, scan" in shown
    assert "ddb-mcp call get pk=" in shown


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("words", [["{}", "--help"], ["--read-only", "{}", "-h"], ["-h", "{}", "pk=x"]])
def test_the_help_of_a_tool_has_its_published_parameters(operator: Operator, tool: str, words: list[str]) -> None:
    shown = operator.run("call", *(word.format(tool) for word in words)).stdout
    (published,) = (listed for listed in list_tools(read_only=False) if listed.name == tool)
    assert " ".join((published.description or "").split()) in " ".join(shown.split())
    listed = re.findall(r"^  (\w+) +(\S.*)$", shown.partition("parameters:\n")[2], re.MULTILINE)
    properties = published.input_schema["properties"]
    assert [name for name, _ in listed] == list(properties)
    required = [name for name, kind in listed if kind.endswith(", required")]
    assert required == published.input_schema.get("required", [])
    for parameter in properties.values():
        assert " ".join(parameter.get("description", "").split()) in " ".join(shown.split())


def test_a_cursor_continues_in_the_next_command(operator: Operator) -> None:
    items = [{"pk": PK, "sk": f"{at:02}"} for at in range(9)]
    call(operator, "put", json.dumps({"items": items}))
    for words in (["query", f"pk={PK}"], ["scan"], ["scan", 'filter={"sk": {"ge": "00"}}']):
        found: list[str] = []
        page = call(operator, *words, "limit=4")
        while "cursor" in page:
            found += [item["sk"] for item in page["items"]]
            page = call(operator, *words, "limit=4", f"cursor={page['cursor']}")
        assert [*found, *(item["sk"] for item in page["items"])] == [item["sk"] for item in items]
    (key,) = operator.folder.rglob("cursors.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    cursor = call(operator, "scan", "limit=4")["cursor"]
    words = ["call", "scan", "limit=4", f"cursor={cursor}"]
    assert "invalid_cursor" in operator.run(*words, DDB_MCP_LOCAL_PATH=str(operator.folder / "other")).stderr
    key.write_bytes(b"short")
    assert "invalid_cursor" in operator.run(*words).stderr


def test_a_state_directory_that_cannot_be_written_stops_nothing(operator: Operator) -> None:
    (operator.folder / "state").write_text("a file")
    done = operator.run("call", "scan", XDG_STATE_HOME=str(operator.folder / "state"))
    assert (done.returncode, done.stderr) == (0, "")
