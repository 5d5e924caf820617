"""Looking through the data: kinds, tables, pages, filters, one item; light, dark, narrow, by keyboard alone."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser import data
from tests.browser.visits import Browse, Visit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Opening = Callable[..., Visit]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("everything") / "items.sqlite3"
    data.store(path, [*data.shop(), *data.many(500), *data.hostile()])
    return path


@pytest.fixture(scope="module")
def reading(everything: Path) -> Iterator[str]:
    """The address of a read-only `ddb-mcp browse` over all the data."""
    with Browse(everything) as process:
        yield process.address


@pytest.fixture
def page(visit: Opening, reading: str) -> Visit:
    opened = visit(reading)
    opened.rows.first.wait_for()
    opened.kind("user / POST").wait_for()
    return opened


def test_the_kinds_of_items_are_counted_with_bars(page: Visit) -> None:
    expect(page.kind("log / EVENT")).to_contain_text("500")
    expect(page.kind("user / POST")).to_contain_text("49")
    longest, shorter = (
        kind.locator(".bar span").bounding_box() for kind in (page.kind("log / EVENT"), page.kind("user / POST"))
    )
    assert longest is not None
    assert shorter is not None
    assert 0.08 < shorter["width"] / longest["width"] < 0.12


def test_a_kind_chosen_shows_its_items_in_columns_of_their_attributes(page: Visit) -> None:
    page.kind("user / PROFILE").click()
    expect(page.rows).to_have_count(7)
    assert page.column("pk") == [f"user#{at}" for at in range(1, 8)]
    assert page.column("balance")[:3] == ["12.5", "25", "37.5"]
    assert page.column("created_at")[0] == "2026-10-16 09:46"
    assert page.column("roles")[0] == "SS author, reader"
    cell = page.find("#table tbody td.right").first
    assert cell.evaluate("cell => getComputedStyle(cell).textAlign") == "right"
    expect(page.find(".shape")).to_contain_text("newsletter")


def test_binary_null_and_long_numbers_are_told_apart(page: Visit) -> None:
    page.kind("product / DETAIL").click()
    expect(page.rows).to_have_count(7)
    assert page.column("picture")[0] == "B 9 bytes"
    assert page.column("stock")[2] == "null"
    page.kind("user / ORDER").click()
    expect(page.rows).to_have_count(28)
    assert "12345678901234567890.5" in page.column("total")


def test_a_column_sorts_the_page_both_ways(page: Visit) -> None:
    page.kind("product / DETAIL").click()
    expect(page.rows).to_have_count(7)
    head = page.find("#table thead th").filter(has_text="price")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    ascending = page.column("price")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    assert page.column("price") == ascending[::-1]
    assert ascending == sorted(ascending, key=float)


def test_the_cursor_pages_through_five_hundred_items_once_each(page: Visit) -> None:
    page.app.get_by_label("One partition").check(force=True)
    page.labelled("partition key (pk)").fill("log#app")
    page.button("Read").click()
    seen: list[str] = []
    for number in range(1, 11):
        expect(page.find("#pager")).to_contain_text(f"Page {number} · 50 items")
        seen += page.column("sk")
        if number < 10:
            page.button("Next ›").click()
    assert seen == [f"EVENT#{at:04}" for at in range(500)]
    if page.button("Next ›").is_enabled():  # the last page is full, and the end is behind it
        page.button("Next ›").click()
        expect(page.find("#table")).to_contain_text("Nothing matches.")
        page.button("‹ Back").click()
        expect(page.find("#pager")).to_contain_text("Page 10 · 50 items")
    page.button("‹ Back").click()
    expect(page.find("#pager")).to_contain_text("Page 9 · 50 items")
    assert page.column("sk") == seen[400:450]


def test_a_range_of_sort_keys_downwards(page: Visit) -> None:
    page.app.get_by_label("One partition").check(force=True)
    page.labelled("Sort keys").select_option("range")
    page.labelled("partition key (pk)").fill(f"{data.PREFIX}#log#app")
    page.labelled("from, inclusive").fill("EVENT#0100")
    page.labelled("to, inclusive").fill("EVENT#0103")
    page.app.get_by_label("descending").check()
    page.button("Read").click()
    expect(page.rows).to_have_count(4)
    assert page.column("sk") == ["EVENT#0103", "EVENT#0102", "EVENT#0101", "EVENT#0100"]


def test_conditions_filter_the_items(page: Visit) -> None:
    page.labelled("pk begins with").fill("log#")
    for name, operator, value in (("level", "eq", "warn"), ("number", "ge", "480")):
        page.button("+ Add a condition").click()
        row = page.find(".condition").last
        row.get_by_label("Attribute").fill(name)
        row.get_by_label("Operator").select_option(operator)
        row.get_by_label("Value").fill(value)
    page.button("Read").click()
    expect(page.rows).to_have_count(2)
    assert page.column("number") == ["480", "490"]
    page.button("Remove this condition").last.click()
    page.button("Read").click()
    expect(page.rows).to_have_count(50)


def test_nothing_found_says_why_and_leads_back(page: Visit) -> None:
    page.button("+ Add a condition").click()
    page.labelled("Attribute").fill("level")
    page.labelled("Value").fill("lost")
    page.button("Read").click()
    expect(page.find("#table")).to_contain_text("Nothing matches.")
    page.button("Show all items").click()
    expect(page.rows).to_have_count(50)


def test_one_item_in_full(page: Visit) -> None:
    page.open("user / PROFILE", "user#1")
    item = page.find("#item")
    expect(item.locator(".key")).to_contain_text(f"{data.PREFIX}#user#1")
    expect(item.locator(".facts")).to_contain_text("9 attributes")
    rows = {row.split("\n")[0]: row.split("\n")[1:] for row in item.locator(".attribute").all_inner_texts()}
    assert rows["balance"] == ["N", "12.5"]
    assert rows["created_at"][:2] == ["N", "1792144000"]
    assert rows["created_at"][2].startswith("2026-10-16 09:46, ")
    assert rows["roles"] == ["SS", "author", "reader"]
    assert rows["newsletter"] == ["BOOL", "false"]


def test_the_time_to_live_is_a_date_and_what_is_left(page: Visit) -> None:
    page.open("session / SESSION", "session#s2")
    left = page.find("#item .facts")
    expect(left).to_contain_text(re.compile(r"Expires .+, 2100-01-03 09:46"))


def test_copy_as_json_gives_the_item(page: Visit, everything: Path) -> None:
    page.open("user / ORDER", "12345678901234567890.5")
    page.button("Copy as JSON").click()
    expect(page.find("#alert")).to_contain_text("Copied as JSON.")
    copied = json.loads(page.window.evaluate("() => navigator.clipboard.readText()"))
    assert copied["total"] == {"N": "12345678901234567890.5"}
    assert copied == data.call(everything, "get", pk=copied["pk"], sk=copied["sk"])["item"]


def test_text_that_would_be_html_stays_text(page: Visit) -> None:
    page.labelled("pk begins with").fill("evil#html")
    page.button("Read").click()
    expect(page.rows).to_have_count(1)
    expect(page.find("#table")).to_contain_text("<img src=x onerror=")
    page.rows.first.click()
    expect(page.find("#item .attributes")).to_contain_text(data.HOSTILE)
    page.find("#table thead button").filter(has_text="<img").first.click()
    assert page.frame.evaluate("() => document.querySelectorAll('img, script').length") == 1
    assert page.frame.title() == "DynamoDB data browser"
    assert page.window.title() == "ddb-mcp"


def test_names_that_objects_inherit_are_attributes(page: Visit) -> None:
    page.labelled("pk begins with").fill("evil#names")
    page.button("Read").click()
    expect(page.rows).to_have_count(1)
    page.rows.first.click()
    names = page.find("#item .attribute .name")
    expect(names).to_have_count(5)
    assert set(names.all_inner_texts()) == {"__proto__", "constructor", "a.b[0]", "`tick`", "<b>"}


def test_what_cannot_be_seen_or_turns_text_round_is_shown_by_its_number(page: Visit) -> None:
    page.labelled("pk begins with").fill("evil#bidi")
    page.button("Read").click()
    expect(page.rows).to_have_count(1)
    assert page.column("sk") == ["C#U+202Egnp.exe"]
    page.rows.first.click()
    expect(page.find("#item .attributes")).to_contain_text("invoiceU+202Egnp.exe")
    expect(page.find("#item .attributes")).to_contain_text("xU+E0041U+200BU+0007")
    shown = page.frame.evaluate("() => document.body.textContent")
    assert not set(shown) & {"\u202e", "\U000e0041", "\u200b", "\u0007"}


def test_a_very_long_text_is_cut_and_can_be_seen_whole(page: Visit) -> None:
    page.labelled("pk begins with").fill("evil#long")
    page.button("Read").click()
    expect(page.rows).to_have_count(1)
    assert len(page.column("long")[0]) < 100
    page.rows.first.click()
    page.button("Show all 390,000 characters").click()
    expect(page.find("#item .attribute .text").first).to_have_text("x" * 390_000)


def test_two_thousand_attributes(page: Visit) -> None:
    page.labelled("pk begins with").fill("evil#many")
    page.button("Read").click()
    expect(page.rows).to_have_count(1)
    page.button("+ 1,990 more").click()
    expect(page.find("#table thead th")).to_have_count(33)
    page.rows.first.click()
    page.button("Show all 2,000 attributes").click()
    expect(page.find("#item .attribute")).to_have_count(2000)


def test_a_read_only_page_offers_no_writing(page: Visit) -> None:
    expect(page.find("#access")).to_have_text("read-only")
    page.open("user / PROFILE", "user#1")
    for name in ("Edit", "Delete…", "New item"):
        expect(page.button(name)).to_have_count(0)


def test_errors_are_told_with_what_to_do(page: Visit) -> None:
    page.app.get_by_label("One partition").check(force=True)
    page.button("Read").click()
    expect(page.find("#alert")).to_contain_text("pk")
    page.labelled("partition key (pk)").fill("log#app")
    page.button("Read").click()
    expect(page.rows).to_have_count(50)
    expect(page.find("#alert")).to_be_empty()


def test_a_command_that_has_ended_is_told(visit: Opening, file: Path) -> None:
    with Browse(file) as process:
        page = visit(process.address)
        page.kind("user / POST").wait_for()
        page.rows.first.wait_for()
        process.end(signal.SIGINT)
        page.button("Read").click()
        expect(page.find("#alert")).to_contain_text("ddb-mcp browse has ended.")
        page.trouble = [text for text in page.trouble if "ERR_CONNECTION_REFUSED" not in text]


def test_an_empty_store(visit: Opening, tmp_path: Path) -> None:
    with Browse(tmp_path / "new.sqlite3") as process:
        page = visit(process.address)
        expect(page.find("#table")).to_contain_text("Nothing matches.")
        expect(page.find("#kinds")).to_contain_text("0 items")


def test_the_policy_of_the_specification_is_in_force(page: Visit) -> None:
    blocked = page.frame.evaluate(
        """async () => {
            const violated = [];
            addEventListener("securitypolicyviolation", (event) => violated.push(event.effectiveDirective));
            const fetched = await fetch("https://example.com/").then(() => true, () => false);
            document.body.append(Object.assign(new Image(), { src: "https://example.com/x.png" }));
            const script = Object.assign(document.createElement("script"), { src: "https://example.com/x.js" });
            document.body.append(script);
            await new Promise((resolve) => setTimeout(resolve, 100));
            return { fetched, violated: violated.sort(), origin: self.origin };
        }"""
    )
    assert blocked["fetched"] is False
    assert set(blocked["violated"]) == {"connect-src", "img-src", "script-src-elem"}
    assert blocked["origin"] == "null"
    page.trouble = [
        text for text in page.trouble if "Content Security Policy" not in text and "example.com" not in text
    ]


def test_dark_is_dark_and_light_is_light(visit: Opening, reading: str) -> None:
    brightness = {}
    for scheme in ("light", "dark"):
        page = visit(reading, scheme=scheme)
        page.rows.first.wait_for()
        script = "() => getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)"
        brightness[scheme] = sum(page.frame.evaluate(script))
    assert brightness["light"] > 700
    assert brightness["dark"] < 100


def test_the_page_follows_a_change_of_theme(page: Visit) -> None:
    page.window.emulate_media(color_scheme="dark")
    expect(page.find("html")).to_have_attribute("style", re.compile("color-scheme: dark"))


def test_at_four_hundred_pixels_nothing_is_cut_off(visit: Opening, reading: str) -> None:
    page = visit(reading, width=400)
    page.kind("user / PROFILE").wait_for()
    script = "() => [document.documentElement.scrollWidth, innerWidth]"
    assert page.frame.evaluate(script) == [400, 400]
    page.open("user / PROFILE", "user#1")
    expect(page.find("#table")).to_be_hidden()
    assert page.frame.evaluate(script) == [400, 400]
    page.labelled("Close the item").click()
    expect(page.find("#table")).to_be_visible()


def test_by_keyboard_alone(page: Visit) -> None:
    keyboard = page.window.keyboard
    page.frame.evaluate("() => document.body.focus()")
    page.find("#table thead button").first.focus()  # somewhere in the page
    keyboard.press("/")
    expect(page.labelled("pk begins with")).to_be_focused()
    keyboard.type("log#app")
    keyboard.press("Enter")
    expect(page.find("#pager")).to_contain_text("50 items")
    expect(page.rows.first).to_contain_text("EVENT#0000")
    for _ in range(20):
        if page.rows.first.get_by_role("button").evaluate("row => row === document.activeElement"):
            break
        keyboard.press("Tab")
    expect(page.rows.first.get_by_role("button")).to_be_focused()
    keyboard.press("ArrowDown")
    keyboard.press("ArrowDown")
    keyboard.press("Enter")
    expect(page.find("#item .key")).to_contain_text("EVENT#0002")
    keyboard.press("Escape")
    expect(page.find("#item")).to_be_hidden()
    expect(page.rows.nth(2).get_by_role("button")).to_be_focused()
