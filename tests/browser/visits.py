"""`ddb-mcp browse` as a process, and a person's visit to its page."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from tests.browser import data
from tests.support.forking import DDB_MCP, Process

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, Frame, Locator, Page


class Browse:
    """`ddb-mcp browse --no-open …` over a local store's file, as a context manager that ends with Ctrl-C.

    Attributes:
        address: what it printed.
        code: its exit code, at the end.
    """

    def __init__(self, file: Path, *arguments: str, **settings: str) -> None:
        self._command = [DDB_MCP, "browse", "--no-open", *arguments]
        own = {"PATH": os.environ["PATH"], "HOME": str(file.parent)}
        self._environment = {**own, **data.environment(file), **settings}
        self.address = ""
        self.code: int | None = None

    def __enter__(self) -> Self:
        self.process = Process(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().rstrip("\n")
        if not self.address:
            raise AssertionError(self.process.communicate(timeout=300)[1])
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGINT)

    def end(self, how: int) -> tuple[str, str]:
        """Send a signal and wait. Returns the rest of its stdout, and its stderr."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        out, err = self.process.communicate(timeout=300) if self.code is None else ("", "")
        self.code = self.process.returncode
        return out, err


class Visit:
    """A window at an address, the page in its frame, and what went wrong.

    Attributes:
        trouble: console errors and warnings, exceptions, and requests to anywhere but the address.
    """

    def __init__(
        self,
        browser: Browser,
        address: str,
        width: int,
        height: int,
        scheme: str,
        prepare: Callable[[Page], None] = lambda window: None,
    ) -> None:
        self.trouble: list[str] = []
        self._context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=cast("Literal['light', 'dark']", scheme),
            timezone_id="UTC",
            locale="en-US",
            permissions=["clipboard-read"],
            reduced_motion="reduce",
        )
        self.window = self._context.new_page()
        self.window.on("console", self._console)
        self.window.on("pageerror", lambda error: self.trouble.append(f"exception: {error}"))
        origin = address.rpartition("/")[0] or address
        self.window.on(
            "request", lambda request: None if request.url.startswith((origin, "data:")) else self._strange(request.url)
        )
        prepare(self.window)
        self.window.goto(address)
        self.app = self.window.frame_locator("iframe")

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.trouble.append(f"{message.type}: {message.text}")

    def _strange(self, url: str) -> None:
        self.trouble.append(f"request: {url[:200]}")

    @property
    def frame(self) -> Frame:
        """The page's own frame, for scripts."""
        return self.window.frames[1]

    def find(self, selector: str, **options: Any) -> Locator:
        return self.app.locator(selector, **options)

    def button(self, name: str, *, exact: bool = True) -> Locator:
        return self.app.get_by_role("button", name=name, exact=exact)

    def labelled(self, label: str) -> Locator:
        return self.app.get_by_label(label, exact=True)

    @property
    def rows(self) -> Locator:
        """The rows of the table of items."""
        return self.find("#table tbody tr")

    def kind(self, name: str) -> Locator:
        """The button of a kind of items, such as `user / POST`."""
        return self.find(".kind").filter(has_text=name)

    def column(self, name: str) -> list[str]:
        """The texts of a column of the table, as they stand."""
        heads = [text.rstrip(" ↑↓") for text in self.find("#table thead th").all_inner_texts()]
        at = heads.index(name) + 1
        return [text.strip() for text in self.find(f"#table tbody tr > :nth-child({at})").all_inner_texts()]

    def open(self, kind: str, row: str) -> None:
        """Choose a kind, and open the item of the row with this text."""
        self.kind(kind).click()
        self.find("#table:not([aria-busy])").wait_for()  # the rows before are no longer there
        self.rows.filter(has_text=row).first.click()
        self.find("#item .facts").wait_for()

    def close(self) -> None:
        self._context.close()
