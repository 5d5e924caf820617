"""Pictures of the data browser for the README: `make screenshots` writes them into docs/images."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser import data
from tests.browser.visits import Browse, Visit
from tests.support.chromium import chromium

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"


def _items(visit: Visit) -> None:
    visit.kind("CUSTOMER / ORDER").click()
    visit.find(".shape").wait_for()
    visit.rows.filter(has_text="ORDER#").nth(27).wait_for()


def _item(visit: Visit) -> None:
    visit.open("CUSTOMER / PROFILE", "PROFILE")


def _narrow_items(visit: Visit) -> None:
    visit.kind("TENANT / READING").click()
    visit.rows.filter(has_text="READING#").nth(27).wait_for()


def _edit(visit: Visit) -> None:
    _item(visit)
    visit.button("Edit").click()
    visit.labelled("Value of vip").select_option("false")
    visit.labelled("Value of email").fill("ada@example.org")
    visit.button("Review the changes").click()
    visit.find("#confirm").wait_for()


@dataclass(frozen=True)
class Picture:
    """One picture: the file's name, the window's width, the scheme, and what is done before it is taken."""

    name: str
    width: int
    scheme: str
    prepare: Callable[[Visit], None]


PICTURES = (
    Picture("items-light", 1280, "light", _items),
    Picture("items-dark", 1280, "dark", _items),
    Picture("item-light", 1280, "light", _item),
    Picture("edit-dark", 1280, "dark", _edit),
    Picture("narrow-light", 400, "light", _narrow_items),
    Picture("narrow-dark", 400, "dark", _item),
)


def main() -> None:
    """Take all pictures, always of the same data."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        file = Path(folder) / "items.sqlite3"
        data.store(file, data.people())
        with Browse(file, "--write") as process:
            for picture in PICTURES:
                visit = Visit(browser, process.address, picture.width, 720, picture.scheme)
                visit.kind("CUSTOMER / ORDER").wait_for()
                visit.rows.first.wait_for()
                picture.prepare(visit)
                path = IMAGES / f"browser-{picture.name}.png"
                visit.window.screenshot(path=path)
                visit.close()
                sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
