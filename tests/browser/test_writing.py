"""Changing items by click: each change is shown first, and sent with what it expects to find."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser import data

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.browser.visits import Browse, Visit

ADA = data.key("user#1", "PROFILE")


@pytest.fixture
def page(visit: Callable[..., Visit], writing: Browse, file: Path) -> Visit:
    opened = visit(writing.address)
    opened.rows.first.wait_for()
    opened.kind("user / POST").wait_for()
    return opened


def stored(file: Path, key: dict[str, Any] = ADA) -> dict[str, Any] | None:
    return data.call(file, "get", **key).get("item")


def edit_ada(page: Visit) -> None:
    page.open("user / PROFILE", "user#1")
    page.button("Edit").click()


def test_an_edit_shows_what_will_change_and_changes_nothing_else(page: Visit, file: Path) -> None:
    before = stored(file)
    assert before is not None
    edit_ada(page)
    page.labelled("Value of balance").fill("77.50")
    page.labelled("Value of name").fill("Ada Lovelace\nCountess")
    page.button("Review the changes").click()
    expect(page.button("Save")).to_be_visible()
    shown = page.find(".review tbody tr").all_inner_texts()
    assert [row.split("\t") for row in shown] == [
        ["balance", "12.5", "77.50"],
        ["name", "Ada Byron", "Ada Lovelace\nCountess"],
    ]
    assert stored(file) == before
    page.button("Save").click()
    expect(page.find("#alert")).to_contain_text("Saved.")
    assert stored(file) == {**before, "balance": 77.5, "name": "Ada Lovelace\nCountess"}
    expect(page.rows.first).to_contain_text("77.5")


def test_digits_are_kept_that_a_double_has_no_room_for(page: Visit, file: Path) -> None:
    edit_ada(page)
    digits = "12345678901234567890.123456789012345678"
    page.labelled("Value of balance").fill(digits)
    page.labelled("Value of address").fill('{"city": "London", "number": 9007199254740993}')
    page.button("Review the changes").click()
    expect(page.find(".review")).to_contain_text("9007199254740993")
    page.button("Save").click()
    expect(page.find("#alert")).to_contain_text("Saved.")
    expect(page.find("#item .attributes")).to_contain_text(digits)
    item = stored(file)
    assert item is not None
    assert item["balance"] == {"N": digits}
    assert item["address"] == {"city": "London", "number": {"N": "9007199254740993"}}


def test_attributes_come_and_go_under_any_name(page: Visit, file: Path) -> None:
    edit_ada(page)
    page.labelled("Remove newsletter").click()
    for name in ("__proto__", "a.b[0]", "`tick`"):
        page.button("+ Add an attribute").click()
        page.labelled("Name of the new attribute").first.fill(name)
        page.labelled("Value of the new attribute").first.fill(f"value of {name}")
    page.button("Review the changes").click()
    page.button("Save").click()
    expect(page.find("#alert")).to_contain_text("Saved.")
    item = stored(file)
    assert item is not None
    assert "newsletter" not in item
    added = {name: item[name] for name in ("__proto__", "a.b[0]", "`tick`")}
    assert added == {name: f"value of {name}" for name in added}
    page.button("Edit").click()
    for name in added:
        page.labelled(f"Remove {name}").click()
    page.button("Review the changes").click()
    page.button("Save").click()
    expect(page.find("#item .facts")).to_contain_text("8 attributes")
    assert not added.keys() & (stored(file) or {}).keys()


def test_a_type_is_changed_only_if_somebody_says_so(page: Visit, file: Path) -> None:
    edit_ada(page)
    page.labelled("Type of balance").select_option("S")
    page.labelled("Type of newsletter").select_option("NULL")
    page.button("Review the changes").click()
    page.button("Save").click()
    expect(page.find("#alert")).to_contain_text("Saved.")
    item = stored(file)
    assert item is not None
    assert (item["balance"], item["newsletter"]) == ("12.5", None)


@pytest.mark.parametrize(
    ("label", "value", "told"),
    [("Value of balance", "12,5", "balance is no number"), ("Value of address", "{city", "address is no JSON")],
)
def test_what_is_no_value_is_refused_before_anything_is_sent(
    page: Visit, file: Path, label: str, value: str, told: str
) -> None:
    before = stored(file)
    edit_ada(page)
    page.labelled(label).fill(value)
    page.button("Review the changes").click()
    expect(page.find("#alert")).to_contain_text(told)
    assert stored(file) == before


def test_a_conflict_stands_side_by_side_and_is_settled_by_a_click(page: Visit, file: Path) -> None:
    edit_ada(page)
    page.labelled("Value of balance").fill("20")
    data.call(file, "put", item={**ADA, "balance": 15, "email": "ada@example.org"}, merge=True)
    page.button("Review the changes").click()
    page.button("Save").click()
    expect(page.find("#item .note")).to_contain_text("Nothing was saved")
    rows = [row.split("\t") for row in page.find(".review tbody tr").all_inner_texts()]
    assert rows == [
        ["balance", "12.5", "15", "20"],
        ["email", "ada@example.com", "ada@example.org", "unchanged"],
    ]
    assert (stored(file) or {})["balance"] == 15
    page.button("Put mine on top…").click()
    expect(page.button("Save")).to_be_visible()
    assert page.find(".review tbody tr").all_inner_texts() == ["balance\t15\t20"]
    page.button("Save").click()
    expect(page.find("#alert")).to_contain_text("Saved.")
    item = stored(file)
    assert item is not None
    assert (item["balance"], item["email"]) == (20, "ada@example.org")


def test_a_conflict_can_end_with_what_is_stored(page: Visit, file: Path) -> None:
    edit_ada(page)
    page.labelled("Value of balance").fill("20")
    data.call(file, "put", item={**ADA, "balance": 15}, merge=True)
    page.button("Review the changes").click()
    page.button("Save").click()
    page.button("Take what is stored").click()
    expect(page.find("#item .attributes")).to_contain_text("15")
    expect(page.rows.first).to_contain_text("15")
    assert (stored(file) or {})["balance"] == 15


def test_a_change_elsewhere_in_the_item_is_no_conflict(page: Visit, file: Path) -> None:
    edit_ada(page)
    page.labelled("Value of balance").fill("20")
    data.call(file, "put", item={**ADA, "email": "ada@example.org"}, merge=True)
    page.button("Review the changes").click()
    page.button("Save").click()
    expect(page.find("#alert")).to_contain_text("Saved.")
    item = stored(file)
    assert item is not None
    assert (item["balance"], item["email"]) == (20, "ada@example.org")


def test_an_edit_does_not_bring_back_an_item_that_is_gone(page: Visit, file: Path) -> None:
    edit_ada(page)
    page.button("+ Add an attribute").click()
    page.labelled("Name of the new attribute").fill("note")
    page.labelled("Value of the new attribute").fill("late")
    data.call(file, "delete", **ADA)
    page.button("Review the changes").click()
    page.button("Save").click()
    expect(page.find("#alert")).to_contain_text("Nothing was saved")
    assert stored(file) is None
    page.button("Try again").click()
    expect(page.find("#item")).to_contain_text("There is no such item.")


def test_a_delete_asks_deletes_and_can_be_undone(page: Visit, file: Path) -> None:
    before = stored(file)
    page.open("user / PROFILE", "user#1")
    page.button("Delete…").click()
    expect(page.find(".review")).to_contain_text("ada@example.com")
    assert stored(file) == before
    page.button("Delete this item").click()
    expect(page.rows).to_have_count(6)
    assert stored(file) is None
    page.button("Put it back").click()
    expect(page.rows).to_have_count(7)
    assert stored(file) == before


def test_an_item_that_has_changed_is_not_deleted(page: Visit, file: Path) -> None:
    page.open("user / PROFILE", "user#1")
    page.button("Delete…").click()
    data.call(file, "put", item={**ADA, "balance": 15}, merge=True)
    page.button("Delete this item").click()
    expect(page.find("#item .note")).to_contain_text("Nothing was saved")
    assert (stored(file) or {})["balance"] == 15


def test_a_new_item_is_shown_first_and_replaces_none(page: Visit, file: Path) -> None:
    key = data.key("user#8", "PROFILE")
    page.button("New item").click()
    page.labelled("The new item as JSON").fill(
        json.dumps(key)[:-1] + ', "big": 123456789012345678901, "tags": {"SS": ["a"]}}'
    )
    page.button("Review").click()
    expect(page.find(".review")).to_contain_text("123456789012345678901")
    assert stored(file, key) is None
    page.button("Create").click()
    expect(page.find("#alert")).to_contain_text("Created.")
    expect(page.find("#item .key")).to_contain_text("user#8")
    assert stored(file, key) == {**key, "big": {"N": "123456789012345678901"}, "tags": {"SS": ["a"]}}
    before = stored(file)
    page.button("New item").click()
    page.labelled("The new item as JSON").fill(json.dumps({**ADA, "name": "Eve"}))
    page.button("Review").click()
    page.button("Create").click()
    expect(page.find("#alert")).to_contain_text("There is an item with this key already.")
    assert stored(file) == before


def test_what_is_over_30_kb_is_shown_and_not_edited(page: Visit, file: Path) -> None:
    key = data.key("user#9", "PROFILE")
    data.call(file, "put", item={**key, "long": "x" * 31_000, "short": "s"})
    page.open("user / PROFILE", "user#9")
    page.button("Edit").click()
    expect(page.find(".attributes")).to_contain_text("Over 30 KB: shown, not edited.")
    expect(page.labelled("Value of long")).to_have_count(0)
    page.labelled("Value of short").fill("t")
    page.button("Review the changes").click()
    page.button("Save").click()
    expect(page.find("#alert")).to_contain_text("Saved.")
    page.button("Delete…").click()
    expect(page.find("#item")).to_contain_text("1 of its 2 attributes, the smallest")
    page.button("Delete this item").click()
    expect(page.find("#alert")).to_contain_text("Deleted.")
    assert stored(file, key) is None


def test_an_edit_by_keyboard_alone(page: Visit, file: Path) -> None:
    page.kind("user / PROFILE").click()
    expect(page.rows).to_have_count(7)
    keyboard = page.window.keyboard
    page.rows.first.get_by_role("button").focus()
    keyboard.press("Enter")
    page.button("Edit").wait_for()
    _tab_to(page, "edit")
    keyboard.press("Enter")
    page.labelled("Value of balance").wait_for()
    for _ in range(30):
        keyboard.press("Tab")
        if page.frame.evaluate("() => document.activeElement.ariaLabel") == "Value of balance":
            break
    keyboard.press("Control+A")
    keyboard.type("99")
    _tab_to(page, "review")
    keyboard.press("Enter")
    expect(page.button("Save")).to_be_focused()
    keyboard.press("Enter")
    expect(page.find("#alert")).to_contain_text("Saved.")
    assert (stored(file) or {})["balance"] == 99


def _tab_to(page: Visit, place: str) -> None:
    for _ in range(60):
        if page.frame.evaluate("() => document.activeElement.id") == place:
            return
        page.window.keyboard.press("Tab")
    raise AssertionError(f"Tab does not come to {place}")
