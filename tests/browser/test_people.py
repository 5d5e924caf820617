"""Data like people's at four widths: long keys, many attributes, several scripts, ten thousand items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser import data
from tests.browser.visits import Browse, Visit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KINDS = ("CUSTOMER / ORDER", "CUSTOMER / PROFILE", "TENANT / READING", "SESSION", "REVIEW")
WIDTHS = (400, pytest.param(680, marks=pytest.mark.extended), 1280, pytest.param(1920, marks=pytest.mark.extended))
# Of each key: what is shown, the whole, and whether some of it is cut off within its cell.
KEYS = """() => [...document.querySelectorAll("#table tbody th")].map((cell) => {
    const button = cell.querySelector("button");
    return [cell.innerText.trim(), button.title, [cell, button].some((box) => box.scrollWidth > box.clientWidth)];
})"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("people") / "items.sqlite3"
    data.store(file, data.people(1_000))
    with Browse(file) as process:
        yield process.address


@pytest.mark.parametrize("width", WIDTHS)
def test_keys_show_their_beginning_and_their_end(visit: Callable[..., Visit], address: str, width: int) -> None:
    page = visit(address, width=width)
    for kind in KINDS:
        page.kind(kind).click()
        expect(page.find("#table tbody tr").first).to_contain_text(kind.rpartition(" ")[2])
        expect(page.rows).to_have_count(50)
        for shown, title, is_cut in page.frame.evaluate(KEYS):
            beginning, _, end = shown.partition("…")
            pk = title.partition("\n")[0].removeprefix(f"{data.PREFIX}#")
            assert not is_cut
            assert beginning == pk if not end else len(beginning) > 10
            assert pk.startswith(beginning)
            assert pk.endswith(end)
        assert page.frame.evaluate("() => [document.documentElement.scrollWidth, innerWidth]") == [width, width]
    page.rows.first.click()
    page.find("#item .facts").wait_for()
    assert page.frame.evaluate("() => [document.documentElement.scrollWidth, innerWidth]") == [width, width]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_whole_of_a_shortened_value_is_there_for_keyboard_and_pointer(
    visit: Callable[..., Visit], address: str, width: int
) -> None:
    page = visit(address, width=width)
    page.rows.first.wait_for()
    keys = [(item["pk"], item["sk"]) for item in data.people(10_000)]
    page.rows.first.get_by_role("button").focus()
    for key in ("ArrowDown", "End", "ArrowUp"):
        page.window.keyboard.press(key)
        shown = page.find("#tip").inner_text()
        assert tuple(shown.split("\n")) in keys
        box = page.find("#tip").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert 0 <= box["y"] <= 800 - box["height"]
    page.window.keyboard.press("Escape")
    page.labelled("pk begins with").focus()
    expect(page.find("#tip")).to_be_hidden()
    cells = page.frame.evaluate(
        """() => [...document.querySelectorAll("#table tbody td")].filter((cell) => cell.innerText.includes("…"))
            .map((cell) => [cell.innerText.length, cell.title.length])"""
    )
    assert cells
    assert all(whole > shown for shown, whole in cells)


def test_characters_stay_whole(visit: Callable[..., Visit], address: str) -> None:
    page = visit(address, width=400)
    page.kind("REVIEW").click()
    expect(page.find("#table tbody tr").first).to_contain_text("REVIEW#")
    shown = page.find("#table tbody").inner_text()
    assert "\ufffd" not in shown
    assert "U+D8" not in shown  # half a character would be shown by its number
    assert "…\u200d" not in shown


@pytest.mark.extended
def test_ten_thousand_items_a_thousand_at_a_time(visit: Callable[..., Visit], tmp_path: Path) -> None:
    file = tmp_path / "items.sqlite3"
    data.store(file, data.people(10_000))
    with Browse(file) as process:
        _look_through(visit(process.address, width=1280))


def _look_through(page: Visit) -> None:
    expect(page.find("#kinds")).to_contain_text("10,000 items")
    page.labelled("Items a page").select_option("1000")
    for number in range(1, 4):
        expect(page.find("#pager")).to_contain_text(f"Page {number} · 1,000 items")
        expect(page.rows).to_have_count(1000)
        page.find("#table").evaluate("table => { table.scrollTop = table.scrollHeight; }")
        expect(page.rows.last).to_be_in_viewport()
        page.button("Next ›").click()
    cells = page.frame.evaluate("() => document.querySelectorAll('#table td, #table th').length")
    assert cells <= 1001 * 13  # twelve columns and the button for more, whatever the items have
