"""The wheel and the source distribution: what is in them, and that a clean environment can use them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from ddb_mcp import __version__
from ddb_mcp.server import skill
from tests.support.hosts import TOOLS, visit

if TYPE_CHECKING:
    from email.message import Message

pytestmark = pytest.mark.extended
PROJECT = Path(__file__).resolve().parents[2]
PRIVATE = shutil.ignore_patterns(".git", ".venv*", ".engines", ".*_cache", ".hypothesis", "__pycache__", "dist")


def _run(*command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project under a name that can occur nowhere by chance, and that shells and URLs dislike."""
    folder = tmp_path_factory.mktemp("built in ünïque place") / "project"
    shutil.copytree(PROJECT, folder, ignore=PRIVATE)
    return folder


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and, made from it, the wheel: what `python -m build` does."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (wheel,) = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def sdist(built: Path) -> Path:
    (sdist,) = built.glob("*.tar.gz")
    return sdist


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new virtual environment with the wheel, at the versions that these tests run with."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    versions = folder.with_name("versions.txt")
    versions.write_text(_run(sys.executable, "-m", "pip", "freeze", "--exclude-editable"))
    _run(sys.executable, "-m", "venv", folder)
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(folder / "bin" / "python", *install, "--constraint", versions, wheel)
    return folder / "bin"


def _files(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_every_module_the_types_and_the_skill_and_nothing_else(wheel: Path, source: Path) -> None:
    package = source / "src" / "ddb_mcp"
    expected = {f"ddb_mcp/{path.relative_to(package).as_posix()}" for path in package.rglob("*") if path.is_file()}
    expected |= {f"ddb_mcp/skill/{path.name}" for path in (source / "skill").iterdir()}
    names = {name for name in _files(wheel) if ".dist-info/" not in name}
    assert names == expected
    assert {"ddb_mcp/py.typed", "ddb_mcp/skill/SKILL.md", "ddb_mcp/skill/auth.md"} <= names


def test_the_wheel_made_from_the_sdist_is_the_one_made_from_the_project(
    wheel: Path, source: Path, tmp_path: Path
) -> None:
    _run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, source)
    assert _files(tmp_path / wheel.name) == _files(wheel)


def test_the_sdist_holds_what_its_makefile_needs(sdist: Path, source: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "demo.py", "README.md", "LICENSE", "CHANGELOG.md", "tests/support/engines.py"} <= names
    missing = {
        path.relative_to(source).as_posix()
        for folder in ("src", "skill", "tests", "benchmarks", "locks")
        for path in (source / folder).rglob("*")
        if path.is_file()
    } - names
    assert not missing


def test_neither_tells_where_it_was_built(wheel: Path, sdist: Path, source: Path) -> None:
    contents = _files(wheel)
    with tarfile.open(sdist) as archive:
        contents |= {
            member.name: file.read() for member in archive if (file := archive.extractfile(member)) is not None
        }
        assert {(member.uname, member.gname) for member in archive} == {("", "")}
    places = [source.parent.name.encode(), sys.prefix.encode() + b"/", str(PROJECT).encode() + b"/"]
    assert not [name for name, data in contents.items() for place in places if place in data]


def _metadata(wheel: Path) -> Message:
    (metadata,) = (data for name, data in _files(wheel).items() if name.endswith("/METADATA"))
    return Parser().parsestr(metadata.decode())


def test_every_dependency_has_an_upper_bound(wheel: Path) -> None:
    requirements = [Requirement(text) for text in _metadata(wheel).get_all("Requires-Dist", [])]
    assert len(requirements) > 5
    unbounded = [r.name for r in requirements if not {s.operator for s in r.specifier} & {"<", "<=", "==", "~="}]
    assert not unbounded


def test_development_dependencies_are_not_published(wheel: Path) -> None:
    metadata = _metadata(wheel)
    names = {Requirement(text).name for text in metadata.get_all("Requires-Dist", [])}
    assert "pydantic" in names
    assert "pytest" not in names
    assert metadata.get_all("Provides-Extra") is None


def test_the_installed_command_tells_its_version(installed: Path) -> None:
    assert _run(installed / "ddb-mcp", "--version") == f"ddb-mcp {__version__}\n"


def test_the_installed_server_serves_its_own_skill_to_a_client(installed: Path, tmp_path: Path) -> None:
    seen = visit(str(installed / "ddb-mcp"), env={"DDB_MCP_LOCAL_PATH": str(tmp_path / "data")}, cwd=tmp_path)
    assert (seen.name, seen.version, seen.tools) == ("ddb-mcp", __version__, TOOLS)
    assert seen.info["mode"] == "local"
    assert seen.skill == skill.load_skill().text
    place = _run(installed / "python", "-c", "import ddb_mcp; print(ddb_mcp.__file__)")
    assert Path(place).is_relative_to(installed.parent)


def test_a_git_address_can_be_installed(tmp_path: Path) -> None:
    """What `uvx --from git+…` and `pip install git+…` do, with the address of this checkout."""
    _run(sys.executable, "-m", "venv", "--system-site-packages", tmp_path / "venv")
    address = f"git+file://{PROJECT}"
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--force-reinstall")
    _run(tmp_path / "venv" / "bin" / "python", *install, address)
    assert _run(tmp_path / "venv" / "bin" / "ddb-mcp", "--version").strip() == f"ddb-mcp {__version__}"
