"""Files and folders whose permissions count for root too."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def lower_privileges() -> None:
    """Make the permission bits count for root as well: no CAP_DAC_OVERRIDE, no CAP_DAC_READ_SEARCH after exec."""
    if os.geteuid() == 0:
        for capability in (1, 2):
            assert ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP, of Linux


@contextlib.contextmanager
def permissions(path: Path, mode: int) -> Iterator[None]:
    """Change the mode of a file or folder for a while."""
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)


needs_permissions = pytest.mark.skipif(
    os.name == "nt" or (os.geteuid() == 0 and sys.platform != "linux"), reason="root cannot give up its rights here"
)
