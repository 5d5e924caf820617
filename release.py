"""Check that a release is complete and print its notes: `python release.py v0.2.0`.

The workflow `release.yml` runs it for each tag, with a plain Python 3.11 that has nothing installed.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent


def main(argv: list[str]) -> int:
    """Print the notes of the tag's release and return 0, or print what is wrong to stderr and return 1."""
    version = argv[0].removeprefix("v")
    problems = [f"{place}: {found}, not {version}" for place, found in versions().items() if found != version]
    notes = release_notes((PROJECT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    if notes is None:
        problems.append(f"CHANGELOG.md: no section '## [{version}] - YYYY-MM-DD' with text")
    if problems:
        sys.stderr.writelines(f"{problem}\n" for problem in problems)
        return 1
    sys.stdout.write(f"{notes}\n")
    return 0


def versions(project: Path = PROJECT) -> dict[str, str]:
    """Return every version that a release publishes, by the place where it is written."""
    package = (project / "src" / "ddb_mcp" / "__init__.py").read_text(encoding="utf-8")
    found = {"src/ddb_mcp/__init__.py": re.findall(r'^__version__ = "(.*)"$', package, re.MULTILINE)[0]}
    for name in ("server.json", "plugin.json", "manifest.json", ".claude-plugin/plugin.json"):
        found[name] = _load(project / name)["version"]
    for number, entry in enumerate(_load(project / "server.json")["packages"]):
        found[f"server.json: packages[{number}]"] = entry["version"]
    market = _load(project / ".claude-plugin" / "marketplace.json")
    found[".claude-plugin/marketplace.json: metadata"] = market["metadata"]["version"]
    for number, entry in enumerate(market["plugins"]):
        found[f".claude-plugin/marketplace.json: plugins[{number}]"] = entry["version"]
    return found


def release_notes(changelog: str, version: str) -> str | None:
    """Return the text under the version's dated heading in the changelog; None if there is none."""
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n"
    section = re.search(heading + r"(.*?)(?=^## \[|\Z)", changelog, re.MULTILINE | re.DOTALL)
    return (section[1].strip() or None) if section else None


def _load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
