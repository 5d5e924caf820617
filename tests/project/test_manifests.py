"""The manifests that registries and hosts read: they agree with the package and fit the forms that are published.

A form is kept here as its facts: which members there may be, which there must be, and what they look like.

- server.json: https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json
- plugin.json, mcp.json: https://agent-plugins.org/specification (1.0.0)
- .claude-plugin/: https://code.claude.com/docs/en/plugins-reference, and …/plugin-marketplaces
- manifest.json: https://github.com/modelcontextprotocol/mcpb/blob/main/schemas/mcpb-manifest-v0.4.schema.json
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import bundle
import pytest
import release

from ddb_mcp import __version__
from ddb_mcp.config.settings import SETTINGS
from ddb_mcp.server import skill
from tests.support.hosts import TOOLS, visit

PROJECT = Path(__file__).resolve().parents[2]
NAME = "ddb-mcp"
SERVER_NAME = "io.github.ddb-mcp/ddb-mcp"


def manifest(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((PROJECT / name).read_text(encoding="utf-8"))
    return loaded


# file: (members that it must have, further ones that it may have)
FORMS: dict[str, tuple[set[str], set[str]]] = {
    "server.json": (
        {"$schema", "name", "description", "version"},
        {"title", "packages", "remotes", "repository", "websiteUrl", "icons", "_meta"},
    ),
    "plugin.json": (
        {"$schema", "name"},
        {"version", "description", "author", "homepage", "repository", "license", "keywords", "extensions"},
    ),
    "mcp.json": ({"$schema", "mcpServers"}, set()),
    ".claude-plugin/plugin.json": (
        {"name"},
        {"version", "description", "author", "homepage", "repository", "license", "keywords", "skills", "mcpServers"},
    ),
    ".claude-plugin/marketplace.json": ({"name", "owner", "plugins"}, {"metadata"}),
    "manifest.json": (
        {"manifest_version", "name", "version", "description", "author", "server"},
        {"display_name", "license", "keywords", "tools", "user_config", "compatibility"},
    ),
}
SCHEMAS = {
    "server.json": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
    "plugin.json": "https://agent-plugins.org/schemas/1.0.0/plugin.schema.json",
    "mcp.json": "https://agent-plugins.org/schemas/1.0.0/mcp.schema.json",
}


@pytest.mark.parametrize("name", FORMS)
def test_each_has_the_members_of_its_form(name: str) -> None:
    needed, allowed = FORMS[name]
    given = manifest(name)
    assert needed <= given.keys() <= needed | allowed
    assert given.get("$schema") == SCHEMAS.get(name)


def test_names_versions_and_descriptions_agree_everywhere() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == NAME
    server, plugin, claude, mcpb = map(
        manifest, ("server.json", "plugin.json", ".claude-plugin/plugin.json", "manifest.json")
    )
    market = manifest(".claude-plugin/marketplace.json")
    [listed] = market["plugins"]
    assert set(release.versions().values()) == {__version__}
    assert [place["name"] for place in (plugin, claude, mcpb, market, listed)] == [NAME] * 5
    assert len({place["description"] for place in (server, plugin, claude, mcpb, market["metadata"], listed)}) == 1
    assert {place["license"] for place in (plugin, claude, mcpb)} == {project["license"]}
    assert [author["name"] for author in (plugin["author"], claude["author"], mcpb["author"], market["owner"])] == [
        project["authors"][0]["name"]
    ] * 4


def test_the_registry_s_entry() -> None:
    server = manifest("server.json")
    assert server["name"] == SERVER_NAME
    assert re.fullmatch(r"[a-zA-Z0-9.-]{1,}/[a-zA-Z0-9._-]+", server["name"])
    assert 1 <= len(server["description"]) <= 100
    assert len(server["title"]) <= 100
    [package] = server["packages"]
    assert package.keys() == {
        "registryType",
        "identifier",
        "version",
        "runtimeHint",
        "transport",
        "environmentVariables",
    }
    assert (package["registryType"], package["identifier"], package["runtimeHint"]) == ("pypi", NAME, "uvx")
    assert package["transport"] == {"type": "stdio"}


def test_the_registry_s_variables_are_settings() -> None:
    settings = {setting.variable: setting for setting in SETTINGS}
    [package] = manifest("server.json")["packages"]
    for variable in package["environmentVariables"]:
        assert variable.keys() <= {"name", "description", "isSecret", "isRequired", "format", "default", "choices"}
        setting = settings[variable["name"]]
        assert variable.get("isSecret", False) == setting.secret
        assert (variable.get("format") == "boolean") == setting.is_switch
        assert variable.get("format", "string") in ("string", "number", "boolean", "filepath")
        assert isinstance(variable.get("default", ""), str)


def test_the_index_page_names_the_registry_s_entry() -> None:
    named = re.findall(r"<!-- mcp-name: (\S+) -->", (PROJECT / "README.md").read_text(encoding="utf-8"))
    assert named == [SERVER_NAME]


def test_the_plugins_start_the_server_from_their_own_folder() -> None:
    (portable,) = manifest("mcp.json")["mcpServers"].values()
    (claude,) = manifest(".claude-plugin/plugin.json")["mcpServers"].values()
    assert portable == {"type": "stdio", "command": "uvx", "args": ["--from", "${PLUGIN_ROOT}", NAME]}
    assert claude == {"command": "uvx", "args": ["--from", "${CLAUDE_PLUGIN_ROOT}", NAME]}
    [listed] = manifest(".claude-plugin/marketplace.json")["plugins"]
    assert listed.keys() <= {"name", "source", "description", "version", "category", "keywords"}
    assert (PROJECT / listed["source"] / ".claude-plugin" / "plugin.json").is_file()
    for name in ("plugin.json", ".claude-plugin/plugin.json"):
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", manifest(name)["name"])


def test_the_desktop_bundle() -> None:
    given = manifest("manifest.json")
    assert given["manifest_version"] == "0.4"
    server = given["server"]
    assert server.keys() == {"type", "entry_point", "mcp_config"}
    assert server["type"] == "uv"
    assert (PROJECT / server["entry_point"]).is_file()
    assert server["mcp_config"]["args"] == ["run", "--directory", "${__dirname}", NAME]
    # `uv run` installs the group `dev` unless told otherwise.
    uv = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]
    assert uv["default-groups"] == []
    assert [tool["name"] for tool in given["tools"]] == TOOLS
    assert all(tool.keys() == {"name", "description"} for tool in given["tools"])
    asked = given["user_config"]
    assert asked.keys() == set(re.findall(r"\$\{user_config\.(\w+)\}", json.dumps(server)))
    for option in asked.values():
        assert option.keys() <= {"type", "title", "description", "default", "required"}
    assert server["mcp_config"]["env"].keys() <= {setting.variable for setting in SETTINGS}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "dist"
    bundle.main(folder)
    return folder


def test_the_plugin_s_folder_has_the_skill_with_its_includes(dist: Path) -> None:
    plugin = dist / "plugin"
    loaded = skill.load_skill()
    [place] = (plugin / "skills").iterdir()
    assert place.name == loaded.front_matter["name"] == "dynamodb-database"
    text = (place / "SKILL.md").read_text(encoding="utf-8")
    assert text == loaded.text
    assert "{{include" not in text
    assert not list(plugin.rglob("__pycache__"))


def test_the_desktop_bundle_is_the_same_each_time(dist: Path, tmp_path: Path) -> None:
    [path] = dist.glob("*.mcpb")
    assert bundle.make_mcpb(tmp_path / "again.mcpb").read_bytes() == path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    assert {"manifest.json", "pyproject.toml", manifest("manifest.json")["server"]["entry_point"]} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith(("/", ".."))]


@pytest.mark.extended
@pytest.mark.parametrize("kind", ["plugin", "mcpb"])
def test_what_is_bundled_installs_and_serves(dist: Path, tmp_path: Path, kind: str) -> None:
    """What `uvx --from FOLDER` and `uv run --directory FOLDER` do: install the folder, and start its command."""
    folder = dist / "plugin"
    if kind == "mcpb":
        folder = tmp_path / "unpacked"
        [path] = dist.glob("*.mcpb")
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    target = tmp_path / "installed"
    # Of the environment that runs this test, all but the package itself is used.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--target", str(target), str(folder)], check=True, timeout=300)
    seen = visit(
        sys.executable,
        ["-m", "ddb_mcp"],
        env={"PYTHONPATH": str(target), "DDB_MCP_LOCAL_PATH": str(tmp_path / "data")},
        cwd=tmp_path,
    )
    assert (seen.name, seen.version, seen.tools) == (NAME, __version__, TOOLS)
    assert seen.skill == skill.load_skill().text
