"""Create the packages that hosts install: `make bundle` runs it.

`dist/plugin` is a plugin's folder (Agent Plugins and Claude Code), with the skill where both look for it and its
includes resolved. `dist/ddb-mcp-VERSION.mcpb` is a bundle for desktop hosts (MCPB). Both contain the sources, so they
can be installed before the package is on an index.
"""

import shutil
import sys
import zipfile
from pathlib import Path

from ddb_mcp import __version__
from ddb_mcp.server import skill

PROJECT = Path(__file__).resolve().parent
SOURCES = ("LICENSE", "README.md", "pyproject.toml", "skill", "src")
PLUGIN = ("plugin.json", "mcp.json", ".claude-plugin")
# The earliest date of a zip file, so that the same sources always give the same bytes.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def main(dist: Path = PROJECT / "dist") -> list[Path]:
    """Create both in `dist`, replacing older ones. Return their paths."""
    dist.mkdir(exist_ok=True)
    made = [make_plugin(dist / "plugin"), make_mcpb(dist / f"ddb-mcp-{__version__}.mcpb")]
    sys.stdout.writelines(f"{path}\n" for path in made)
    return made


def make_plugin(folder: Path) -> Path:
    """Create the plugin's folder. Return its path."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in (*SOURCES, *PLUGIN):
        _copy(PROJECT / name, folder / name)
    loaded = skill.load_skill()
    place = folder / "skills" / loaded.front_matter["name"]
    place.mkdir(parents=True)
    (place / "SKILL.md").write_text(loaded.text, encoding="utf-8")
    return folder


def make_mcpb(path: Path) -> Path:
    """Create the bundle, a zip file. Return its path."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in ("manifest.json", *SOURCES):
            for file in _files(PROJECT / name):
                entry = zipfile.ZipInfo(file.relative_to(PROJECT).as_posix(), _NO_TIME)
                entry.compress_type = zipfile.ZIP_DEFLATED
                bundle.writestr(entry, file.read_bytes())
    return path


def _copy(source: Path, target: Path) -> None:
    for file in _files(source):
        place = target / file.relative_to(source) if source.is_dir() else target
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)


def _files(source: Path) -> list[Path]:
    """Return the file, or the folder's files in order, without Python's caches."""
    if source.is_file():
        return [source]
    return sorted(file for file in source.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


if __name__ == "__main__":
    main()
