"""Files that somebody else wrote, and what is in a folder of them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder but SQLite's index of its log, which holds no data and which a reader rebuilds."""
    return {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-shm")
    }


def write_and_crash(file: Path, *statements: str) -> None:
    """SQL run by a process that ends without closing the file, so that what it wrote is still in the log."""
    script = (
        "import os, sqlite3, sys\nconnection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in sys.argv[2:]: connection.execute(statement)\nos._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(file), *statements], check=True)
