"""Reading through secondary indexes: which there are, what they ask for, their order, pages, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser import data
from tests.browser.visits import Browse, Visit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Opening = Callable[..., Visit]

INDEXES = "byCustomer=GSI1PK,GSI1SK; byTotal=GSI1PK,total:N; byDay=day:N; inverted=sk"
CUSTOMER = f"{data.PREFIX}#customer#1"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 orders: the later, the less each costs. All are the customer's, on three days."""
    path = tmp_path_factory.mktemp("indexes") / "items.sqlite3"
    data.call(path, "provision", indexes=INDEXES)
    orders = [
        {
            **data.key(f"order#{at:03}", "ORDER"),
            "GSI1PK": CUSTOMER,
            "GSI1SK": f"2026-{at:03}",
            "total": 500 - at,
            "day": at % 3,
        }
        for at in range(120)
    ]
    data.store(path, orders)
    return path


@pytest.fixture(scope="module")
def address(file: Path) -> Iterator[str]:
    with Browse(file) as process:
        yield process.address


@pytest.fixture
def page(visit: Opening, address: str) -> Visit:
    opened = visit(address)
    opened.rows.first.wait_for()
    opened.app.get_by_label("One partition").check(force=True)
    return opened


def read(page: Visit) -> list[str]:
    """Press Read, and return the partition keys of the table's rows."""
    page.button("Read").click()
    page.find("#table:not([aria-busy])").wait_for()
    return page.column("pk")


def test_an_index_is_read_in_its_order_and_in_pages(page: Visit) -> None:
    page.labelled("Table or index").select_option("byTotal")
    expect(page.labelled("GSI1PK")).to_have_value(f"{data.PREFIX}#")
    page.labelled("GSI1PK").fill(CUSTOMER)
    expect(page.labelled("Sort keys").locator("option")).to_have_text(["total from … to"])
    expect(page.labelled("total")).to_have_count(0)  # numbers have no beginnings
    assert read(page) == [f"order#{at:03}" for at in range(119, 69, -1)]
    for first in (69, 19):
        page.button("Next ›").click()
        expect(page.rows.first).to_contain_text(f"order#{first:03}")
    expect(page.button("Next ›")).to_be_disabled()
    page.labelled("from, inclusive").fill("9.5e1")
    page.labelled("to, inclusive").fill("400")
    page.app.get_by_label("descending").check()
    assert read(page) == [f"order#{at:03}" for at in range(100, 120)]


def test_an_index_with_a_text_for_a_sort_key(page: Visit) -> None:
    page.labelled("Table or index").select_option("byCustomer")
    page.labelled("GSI1PK").fill(CUSTOMER)
    page.labelled("GSI1SK").fill("2026-01")
    assert read(page) == [f"order#{at:03}" for at in range(10, 20)]


def test_indexes_on_a_number_and_on_the_sort_key(page: Visit) -> None:
    page.labelled("Table or index").select_option("byDay")
    expect(page.labelled("Sort keys")).to_have_count(0)
    page.labelled("day").fill("2")
    assert read(page) == [f"order#{at:03}" for at in range(2, 120, 3)]
    page.labelled("Table or index").select_option("inverted")
    page.labelled("sk").fill("ORDER")
    assert len(read(page)) == 50


def test_what_is_refused_is_told(page: Visit) -> None:
    page.labelled("Table or index").select_option("byCustomer")
    page.labelled("GSI1PK").fill("deploy#other#customer#1")
    page.button("Read").click()
    expect(page.find("#alert")).to_contain_text(f"must start with '{data.PREFIX}#'")
    page.labelled("Table or index").select_option("byDay")
    page.labelled("day").fill("Monday")
    page.button("Read").click()
    expect(page.find("#alert")).to_contain_text("must be a number")


def test_back_to_the_table(page: Visit) -> None:
    page.labelled("Table or index").select_option("byDay")
    page.labelled("Table or index").select_option("table")
    page.labelled("partition key (pk)").fill("order#007")
    assert read(page) == ["order#007"]


def test_a_table_without_indexes_offers_none(visit: Opening, tmp_path: Path) -> None:
    path = tmp_path / "items.sqlite3"
    data.store(path, data.shop())
    with Browse(path) as process:
        page = visit(process.address)
        page.rows.first.wait_for()
        page.app.get_by_label("One partition").check(force=True)
        expect(page.labelled("partition key (pk)")).to_be_visible()
        expect(page.labelled("Table or index")).to_have_count(0)


@pytest.mark.parametrize("width", [400, 680, 1280, 1920])
def test_the_choice_fits_at_every_width(visit: Opening, address: str, width: int) -> None:
    page = visit(address, width=width)
    page.rows.first.wait_for()
    page.app.get_by_label("One partition").check(force=True)
    page.labelled("Table or index").select_option("byCustomer")
    page.labelled("GSI1PK").fill(CUSTOMER)
    read(page)
    assert page.frame.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
