"""The Chromium that the tests of the data browser drive: the system's, else Playwright's own.

`python -m tests.support.chromium` installs Debian's where there is none and this may be done. What cannot be installed
is an error if `CI` is `true`; elsewhere it is reported, and the tests that need it are skipped.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from tests.support.engines import CI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def main() -> None:
    """Install Debian's Chromium if there is no browser; exit with 1 where that fails and CI is set."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if _program() is None and shutil.which("apt-get") and os.geteuid() == 0:
        install("chromium", "fonts-dejavu-core")
    if _program() is None:
        logging.error("No Chromium. The tests of the data browser cannot run; `playwright install chromium` gets one.")
        sys.exit(1 if CI else 0)


def install(*packages: str) -> None:
    """Install packages of Debian's; log what cannot be installed."""
    logging.info("Installing Debian's %s", packages[0])
    apt = ("apt-get", "-q")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        # The lists that are there may do where they cannot be updated, for example by a mirror that is behind.
        subprocess.run([*apt, "update"], env=quiet, stdout=subprocess.DEVNULL, check=False)
        subprocess.run(
            [*apt, "install", "-y", "--no-install-recommends", *packages],
            env=quiet,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        logging.error("Not installed: %s (%s).", packages[0], error)


def _program() -> str | None:
    """The path of a Chromium, None if there is none."""
    for name in PROGRAMS:
        if path := shutil.which(name):
            return path
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium. Without one, fail the running test if CI is set, else skip it.

    While it runs, this thread has an event loop, so that `asyncio.run` wants another thread.
    """
    program = _program()
    if program is None:
        reason = "no Chromium; run `python -m tests.support.chromium` as root, or `playwright install chromium`"
        if CI:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


if __name__ == "__main__":
    main()
