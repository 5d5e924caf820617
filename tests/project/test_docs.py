"""What the README and the pages in docs/ say, done: snippets start the server, commands run, lists are the code's."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ddb_mcp import __version__
from ddb_mcp.cli import main as cli
from ddb_mcp.config.resolve import resolve_settings
from ddb_mcp.config.settings import SETTINGS
from ddb_mcp.core import errors
from ddb_mcp.web.listening import listen
from tests.protocol.wire import clean_environment
from tests.support.commands import run_command
from tests.support.engines import Engine
from tests.support.engines import environment as environment_without_aws
from tests.support.hosts import TOOLS, visit

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
TEXTS = {page.relative_to(PROJECT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
README = TEXTS["README.md"]
ALL = "\n".join(TEXTS.values())
# (page, language, text) of each fenced block. The gateway's page has tests of its own in tests/gateway/, the recipes in
# test_recipes.py.
BLOCKS = [
    (page, kind, block)
    for page, text in TEXTS.items()
    if page not in ("docs/gateway.md", "docs/recipes.md")
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
]
BIN = Path(sys.executable).parent
GIT = "git+https://github.com/ddb-mcp/ddb-mcp"
# The command that works as long as the package is on no index.
UVX = ("uvx", "--from", GIT, "ddb-mcp")

Config = dict[str, Any]
PROJECT_TABLE: Config = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _blocks(language: str) -> list[str]:
    return [text for _, kind, text in BLOCKS if kind == language]


def _lines() -> list[str]:
    """The commands in the shell blocks, without what `#` says of them. Blocks with variables are scripts instead."""
    blocks = [text for text in _blocks("sh") if "export " not in text]
    return [line for text in blocks for line in map(_command, text.splitlines()) if line]


def _command(line: str) -> str:
    return re.sub(r"(^|\s+)# .*", "", line)


def _configs() -> dict[str, Config]:
    """Each host's way to name our command: `{"command", "args", "env"}`, by where it stands."""
    found: dict[str, Config] = {}
    for page, language, text in BLOCKS:
        if language == "json":
            ((kind, servers),) = json.loads(text).items()
            assert kind in ("mcpServers", "servers")  # `servers` is VS Code's
            found |= {_free(f"{page}: {kind}", found): servers["ddb-mcp"]}
        elif language == "toml":
            found |= {_free(f"{page}: toml", found): tomllib.loads(text)["mcp_servers"]["ddb-mcp"]}
    for line in _lines():
        if line.startswith("claude mcp add "):
            words = shlex.split(line)
            command, *args = words[words.index("--") + 1 :]
            found |= {line: {"command": command, "args": args}}
    for link in re.findall(r"\]\(([^\s)]*(?:mcp/install|install-mcp)[^\s)]*)\)", README):
        url = urlsplit(link)
        query = {name: value for name, (value,) in parse_qs(url.query, strict_parsing=True).items()}
        assert query.keys() == {"name", "config"}
        assert query["name"] == "ddb-mcp"
        plain = query["config"].startswith("{")
        text = query["config"] if plain else base64.b64decode(query["config"], validate=True).decode()
        found |= {f"{url.scheme}://{url.netloc}{url.path}": json.loads(text)}
    return found


def _free(name: str, taken: Config) -> str:
    return name if name not in taken else _free(name + "+", taken)


CONFIGS = _configs()


def test_every_host_is_covered() -> None:
    assert {name for name in CONFIGS if not name.startswith("docs/")} == {
        "README.md: mcpServers",
        "README.md: servers",
        "README.md: toml",
        f"claude mcp add ddb-mcp -- {' '.join(UVX)}",
        # https://cursor.com/docs/mcp/install-links has cursor:, to which GitHub shows no links; this page leads there
        "https://cursor.com/en/install-mcp",
        # https://code.visualstudio.com/api/extension-guides/ai/mcp: GitHub shows no link to the vscode: scheme itself
        "https://insiders.vscode.dev/redirect/mcp/install",
    }


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if "url" not in config])
def test_what_a_host_is_told_starts_the_server(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    assert config.keys() <= {"type", "command", "args", "env"}
    assert config.get("type", "stdio") == "stdio"
    command, args = config["command"], config.get("args", [])
    if command == "uvx":
        # uvx would install the package from git or from PyPI. The program that it would start is the one in this
        # environment, whose name is that of the project.
        assert tuple(args[:3]) == UVX[1:] or (name.startswith("docs/") and args[0] == PROJECT_TABLE["name"])
        command, *args = args[args.index("ddb-mcp") :]
        assert command in PROJECT_TABLE["scripts"]
    assert command == "ddb-mcp"
    if given := config.get("env"):
        # What these settings lead to is not on this machine: they must be complete, and of their mode.
        assert resolve_settings(given).mode == ("platform" if "DDB_MCP_API_URL" in given else "direct")
        return
    seen = visit(str(BIN / command), args, {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)})
    assert (seen.name, seen.tools, seen.info["mode"]) == ("ddb-mcp", TOOLS, "local")
    assert seen.info["prefix"] == "deploy#local"


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if "url" in config])
def test_a_remote_host_is_told_an_address_and_a_token(name: str) -> None:
    config: dict[str, Any] = CONFIGS[name]
    assert urlsplit(config["url"]).path == "/mcp"
    headers: dict[str, str] = config.get("headers") or config.get("http_headers") or {}
    assert headers.get("Authorization", "").startswith("Bearer ") or config.get("bearer_token_env_var")


def test_the_shell_commands_run(tmp_path: Path) -> None:
    answers = []
    for line in _lines():
        words = shlex.split(line)
        if words[0] == "make":
            subprocess.run([*words, "--dry-run"], cwd=PROJECT, capture_output=True, check=True)
        elif words[:2] == ["ddb-mcp", "call"]:
            environment = clean_environment(HOME=str(tmp_path), DDB_MCP_LOCAL_PATH=str(tmp_path / "data"))
            answers.append(json.loads(run_command(*words[1:], environment=environment).stdout))
        elif words[0] == "ddb-mcp":
            cli.parse_arguments(words[1:])
        else:
            assert line in CONFIGS or line in FROM_A_GIT_ADDRESS, f"nothing here tries {line!r}"
    ada = [{"pk": "deploy#local#user#7", "sk": "PROFILE", "name": "Ada"}]
    made, found, provisioned, *again = [answer.get("created", answer.get("items")) for answer in answers]
    assert (made, found, provisioned, again) == (True, ada, False, [ada, ada])


# test_packaging.py installs from a git address on this machine.
FROM_A_GIT_ADDRESS = (f"{' '.join(UVX)} --version", f"pip install {GIT}")


def test_the_git_address_is_the_projects_own() -> None:
    assert f"git+{PROJECT_TABLE['urls']['Source']}" == GIT


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 180


@pytest.mark.parametrize("page", TEXTS)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", TEXTS[page]):
        if not link.startswith(("http://", "https://")):
            assert (PROJECT / page).parent.joinpath(link).exists(), link


# The pages that describe the code, and the folders that their paths begin in.
ABOUT_CODE = ["docs/architecture.md", "docs/testing.md", "docs/releasing.md", "CONTRIBUTING.md", "SECURITY.md"]
SOURCE = PROJECT / "src" / "ddb_mcp"


@pytest.mark.parametrize("page", ABOUT_CODE)
def test_the_code_that_a_page_names_exists(page: str) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    files = set(re.findall(r"(?<![\w/.])[\w.-]+(?:/[\w.-]+)*\.(?:py|json|toml|yml|md|lark)\b(?!\))", text))
    files |= set(re.findall(r"`((?:[\w.-]+/)+)`", text))
    modules = {path.name for path in SOURCE.rglob("*")}  # a page may name these without their folder
    missing = {name for name in files if not any((folder / name).exists() for folder in (SOURCE, PROJECT))}
    assert {name for name in missing if name.rstrip("/") not in modules} <= {"dist/", ".venv/", ".engines/"}
    code = "\n".join(
        path.read_text(encoding="utf-8") for path in [*SOURCE.rglob("*.py"), *PROJECT.glob("tests/**/*.py")]
    )
    names = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+|[A-Z]{4,})\b[^`]*`", text))
    defined = {name for name in names if re.search(rf"^\s*(class |def )?{name}\b[^\n]*[:=]", code, re.MULTILINE)}
    assert names - defined - {"FUZZ"} == set()


def test_your_own_platform_runs_and_serves_an_agents_machine(tmp_path: Path) -> None:
    own = re.findall(r"^```sh\n(.*?)^```$", TEXTS["docs/gateway.md"], re.MULTILINE | re.DOTALL)[0]
    (agent,) = (text for text in _blocks("sh") if "platform.example" in text)
    storage, serving = own.splitlines()[0], own.splitlines()[-1]
    assert storage == "export DDB_MCP_MODE=direct DYNAMODB_TABLE=app-data AWS_PROFILE=work"
    assert serving.startswith("ddb-mcp gateway serve")
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    # Over SQLite, on a free port, in the background.
    own = own.replace(storage, "export DDB_MCP_MODE=local")
    serve = f"ddb-mcp gateway serve --port {port} & trap 'kill %1' EXIT; {WAIT.format(port)}"
    own = own.replace(serving, serve)
    agent = agent.replace("https://platform.example", f"http://127.0.0.1:{port}").replace("…", '"$(cat alice.token)"')
    agent = agent.replace("ddb-mcp doctor", "ddb-mcp call provision\nddb-mcp doctor")
    script = f"set -e\n{own}\nunset DDB_MCP_MODE\n{agent}\n"
    environment = clean_environment(HOME=str(tmp_path), DDB_MCP_LOCAL_PATH=str(tmp_path / "data"))
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (provisioned,) = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert provisioned["prefix"] == "deploy#alice"
    assert "All is well." in done.stdout


def test_direct_mode_in_a_shell(tmp_path: Path, dynoxide: Engine) -> None:
    (aws,) = (text for text in _blocks("sh") if "AWS_PROFILE=work AWS_REGION" in text)
    (engine,) = (text for text in _blocks("sh") if "AWS_ENDPOINT_URL_DYNAMODB" in text and "provision" in text)
    environment = environment_without_aws(HOME=str(tmp_path))
    environment["PATH"] = f"{BIN}:{environment['PATH']}"

    def run(script: str) -> Any:
        return json.loads(
            subprocess.run(["bash", "-ec", script], env=environment, capture_output=True, check=True).stdout
        )

    assert "deploy#abc123#" in json.dumps(run(aws))
    provisioned = run(engine.replace("http://127.0.0.1:8000", dynoxide.endpoint))
    assert (provisioned["mode"], provisioned["prefix"]) == ("direct", "deploy#abc123")


WAIT = "for i in $(seq 300); do curl -fs http://127.0.0.1:{}/health && break; sleep 0.1; done > /dev/null"


@pytest.mark.parametrize("text", sorted(set(re.findall(r"`(ddb-mcp [^`…]*)`", ALL))))
def test_commands_in_the_text_are_understood(text: str) -> None:
    words = shlex.split(text)[1:]
    if len(words) == 1:  # a command's name, or --help
        words = [words[0], "--help"]
        with pytest.raises(SystemExit, match=r"^0$"):
            cli.parse_arguments(words)
    else:
        cli.parse_arguments(words)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([\w-]+)`", ALL)) | {"demo", "test"}))
def test_make_targets_exist(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=PROJECT, capture_output=True, check=True)


def _table(heading: str, page: str = "README.md") -> list[list[str]]:
    """The rows of the table under a heading of a page, its own first row aside."""
    section = TEXTS[page].partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [row.strip("|").split("|") for row in section.splitlines() if row.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_the_table_of_tools_is_complete() -> None:
    assert [name for name, _ in _table("The seven tools")] == [f"`{name}`" for name in TOOLS]


def test_the_troubleshooting_has_every_error_code() -> None:
    codes = {getattr(error, "code", "") for error in vars(errors).values()}
    rows = _table("Error codes", "docs/troubleshooting.md")
    assert {code.strip("`") for code, _ in rows} == codes - {""}


def test_readme_help_and_code_list_the_same_settings() -> None:
    code = {s.variable: s.modes for s in SETTINGS}
    table = {
        row[0].strip("`"): row[1] for row in _table("Settings", "docs/modes.md") if re.fullmatch("`[A-Z_]+`", row[0])
    }
    assert table == code
    told = run_command("--help", environment=clean_environment(COLUMNS="1000")).stdout
    flags = dict(re.findall(r"^  (--\S+)(?: VALUE)?\s+\S.*\[([A-Z_]+); ", told, re.MULTILINE))
    assert flags == {s.flag: s.variable for s in SETTINGS if not s.secret}
    assert re.findall(r"[A-Z_]{5,}(?= \()", told.partition("variables only:")[2]) == [
        s.variable for s in SETTINGS if s.secret
    ]


def test_readme_and_code_have_the_same_defaults() -> None:
    defaults = {row[0].strip("`"): row[3].replace("`", "") for row in _table("Settings", "docs/modes.md")}
    plain = {s.variable: s.default for s in SETTINGS if re.fullmatch(r"\S*|local: \S+", s.default)}
    assert len(plain) > 8
    assert {name: defaults[name] for name in plain} == plain


def test_no_text_names_a_setting_that_there_is_not() -> None:
    texts = [*PAGES, *(PROJECT / "src").rglob("*.py"), *(PROJECT / "skill").iterdir()]
    named = {name for path in texts for name in re.findall("DDB_MCP_[A-Z_]*[A-Z]", path.read_text(encoding="utf-8"))}
    assert named == {s.variable for s in SETTINGS if s.variable.startswith("DDB_MCP_")}


def test_the_changelog_has_the_version() -> None:
    """The version that is being made has the section Unreleased; a release gives it its number and date."""
    headings = re.findall(r"^## \[(.*?)\]", (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert __version__ in headings or (headings[0] == "Unreleased" and headings[1] < __version__)
