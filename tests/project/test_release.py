"""What the release workflow checks and publishes: versions that agree, and the changelog's section as notes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ddb_mcp import __version__

PROJECT = Path(__file__).resolve().parents[2]
# Each file with a version, and how often it has it.
VERSIONED = {
    "src/ddb_mcp/__init__.py": 1,
    "server.json": 2,
    "plugin.json": 1,
    "manifest.json": 1,
    ".claude-plugin/plugin.json": 1,
    ".claude-plugin/marketplace.json": 2,
}
CHANGELOG = """# Changelog

## [Unreleased]

- Not released.

## [1.2.0] - 2026-11-22

### Added

- The first line.

## [1.1.0]

- No date.

## [1.0.0] - 2026-10-01

- The oldest line.
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the files that release.py reads, as they are for release 1.2.0."""
    for name in VERSIONED:
        text = (PROJECT / name).read_text(encoding="utf-8")
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.replace(f'"{__version__}"', '"1.2.0"'), encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    shutil.copy(PROJECT / "release.py", tmp_path)
    return tmp_path


def run(project: Path, tag: str) -> subprocess.CompletedProcess[str]:
    # -S: without the packages of this environment, as in the workflow.
    command = [sys.executable, "-S", str(project / "release.py"), tag]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_notes_are_the_section_of_the_version(project: Path) -> None:
    done = run(project, "v1.2.0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "### Added\n\n- The first line.\n", "")


@pytest.mark.parametrize("name", VERSIONED)
def test_each_version_must_be_the_tag_s(project: Path, name: str) -> None:
    text = (project / name).read_text(encoding="utf-8")
    assert text.count('"1.2.0"') == VERSIONED[name]
    (project / name).write_text(text.replace('"1.2.0"', '"1.1.0"'), encoding="utf-8")
    done = run(project, "v1.2.0")
    assert (done.returncode, done.stdout) == (1, "")
    wrong = done.stderr.splitlines()
    assert len(wrong) == VERSIONED[name]
    assert all(line.startswith(name) and line.endswith(": 1.1.0, not 1.2.0") for line in wrong)


@pytest.mark.parametrize("tag", ["v1.1.0", "v1.3.0", "vUnreleased"])
def test_a_version_without_a_dated_section_is_refused(project: Path, tag: str) -> None:
    for name in VERSIONED:
        text = (project / name).read_text(encoding="utf-8")
        (project / name).write_text(text.replace('"1.2.0"', f'"{tag[1:]}"'), encoding="utf-8")
    done = run(project, tag)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"CHANGELOG.md: no section '## [{tag[1:]}] - YYYY-MM-DD' with text\n"
