"""The page as an MCP App: a server over stdio, a host that relays, and what the host tells it.

The policy is the one that the specification sets for a page that asks for no other:
https://github.com/modelcontextprotocol/ext-apps/blob/main/specification/2026-01-26/apps.mdx
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from ddb_mcp.browser.page import browser_page
from ddb_mcp.server import mcp_apps
from tests.browser import data
from tests.browser.visits import Visit
from tests.protocol.wire import DDB_MCP, ENVELOPE, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Route

POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; media-src 'self' data:; connect-src 'none'"
)
APPS = {"extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]}}}
ADDRESS = "http://host.example/"
LOG = f"{data.PREFIX}#log#app"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """`ddb-mcp` over stdio, after a handshake with a host that shows pages."""
    file = tmp_path_factory.mktemp("app") / "items.sqlite3"
    large = {**data.key("evil#large", "D"), "long": "ab" * 30_000, "short": "s", "a.b": {"c": "deep " * 10_000}}
    data.store(file, [*data.shop(), *data.many(120), large])
    data.call(file, "provision", indexes="byLevel=level,number:N")
    with Wire(DDB_MCP, data.environment(file)) as wire:
        _shake_hands(wire, APPS)
        yield wire


def _shake_hands(wire: Wire, capabilities: dict[str, Any]) -> dict[str, Any]:
    who = {"name": "host", "version": "1"}
    answer = wire.ask(
        "initialize", {"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": who}, "handshake"
    )
    wire.send("notifications/initialized")
    result: dict[str, Any] = answer["result"]
    return result


class Hosted(Visit):
    """The page in a host, which was opened for one call of an agent.

    Attributes:
        calls: the tool calls that the page has asked for.
    """

    def __init__(
        self,
        browser: Browser,
        server: Wire,
        tool: str,
        arguments: dict[str, Any],
        *,
        structured: bool = True,
        capabilities: dict[str, Any] | None = None,
        **context: Any,
    ) -> None:
        self.calls: list[dict[str, Any]] = []
        self._server = server
        self._structured = structured
        html = (Path(__file__).with_name("host.html")).read_text(encoding="utf-8")

        def prepare(window: Any) -> None:
            window.expose_function("page", browser_page)
            window.expose_function("relay", self._relay)
            window.expose_function("introduction", lambda: self._introduction(tool, capabilities, context))
            window.expose_function("given", lambda: self._given(tool, arguments))
            window.route("**/*", lambda route: self._serve(route, html))

        super().__init__(browser, ADDRESS, 900, 700, "light", prepare)

    @staticmethod
    def _serve(route: Route, html: str) -> None:
        headers = {"content-type": "text/html", "content-security-policy": POLICY}
        route.fulfill(body=html, headers=headers)

    @staticmethod
    def _introduction(tool: str, capabilities: dict[str, Any] | None, context: dict[str, Any]) -> dict[str, Any]:
        return {
            "protocolVersion": "2026-01-26",
            "hostInfo": {"name": "host", "version": "1"},
            "hostCapabilities": {"serverTools": {}} if capabilities is None else capabilities,
            "hostContext": {"toolInfo": {"tool": {"name": tool, "inputSchema": {"type": "object"}}}, **context},
        }

    def _result(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._server.call(tool, **arguments)["result"]
        if not self._structured:
            result.pop("structuredContent", None)
        return result

    def _relay(self, call: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(call)
        return self._result(call["name"], call["arguments"])

    def _given(self, tool: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        result = self._result(tool, arguments)
        return [
            {"method": "ui/notifications/tool-input", "params": {"arguments": arguments}},
            {"method": "ui/notifications/tool-result", "params": result},
        ]

    def said(self) -> list[dict[str, Any]]:
        """The messages that the page has sent."""
        said: list[dict[str, Any]] = self.window.evaluate("() => said")
        return said


@pytest.fixture
def hosted(browser: Browser, server: Wire) -> Iterator[Any]:
    """Opens the page for a call; at the end nothing may have gone wrong in it."""
    opened: list[Hosted] = []

    def open_for(tool: str, arguments: dict[str, Any], **host: Any) -> Hosted:
        opened.append(Hosted(browser, server, tool, arguments, **host))
        return opened[-1]

    yield open_for
    for page in opened:
        page.close()
    assert [trouble for page in opened for trouble in page.trouble] == []


@pytest.mark.parametrize("structured", [True, False], ids=["structured", "text alone"])
def test_the_page_shows_what_the_agent_has_read_and_reads_nothing_of_itself(hosted: Any, structured: bool) -> None:
    page = hosted("query", {"pk": LOG, "limit": 30, "filter": {"level": "info"}}, structured=structured)
    expect(page.rows).to_have_count(30)
    expect(page.labelled("partition key (pk)")).to_have_value("log#app")
    expect(page.labelled("Attribute")).to_have_value("level")
    assert [call["name"] for call in page.calls] == ["info"]
    page.button("Next ›").click()
    expect(page.find("#pager")).to_contain_text("Page 2")
    assert page.column("sk")[0] == "EVENT#0034"
    page.rows.first.click()
    expect(page.find("#item .facts")).to_contain_text("4 attributes")
    assert [call["name"] for call in page.calls] == ["info", "query", "get"]


def test_a_query_of_an_index_goes_on_in_the_index(hosted: Any, server: Wire) -> None:
    called = {"index": "byLevel", "pk": LOG, "sk_from": "3", "limit": 5}
    stored = {"level": LOG, "number": 1}
    for at in range(9):
        server.call("put", item={**data.key(f"note#{at}", "NOTE"), **stored, "number": 9 - at})
    page = hosted("query", called)
    expect(page.rows).to_have_count(5)
    assert page.column("pk") == [f"note#{at}" for at in (6, 5, 4, 3, 2)]
    expect(page.labelled("Table or index")).to_have_value("byLevel")
    expect(page.labelled("from, inclusive")).to_have_value("3")
    page.button("Next ›").click()
    expect(page.rows).to_have_count(2)
    assert page.calls[-1]["arguments"] | {"cursor": ""} == {**called, "cursor": ""}


def test_a_filter_that_the_form_has_no_rows_for_is_kept(hosted: Any) -> None:
    given = {"filter": {"number": {"between": [5, 60]}}, "pk_prefix": LOG, "limit": 50}
    page = hosted("scan", given)
    expect(page.rows).to_have_count(50)
    expect(page.find("#form")).to_contain_text('{"number":{"between":[5,60]}}')
    page.button("Read").click()
    expect(page.find("#pager")).to_contain_text("50 items")
    assert page.calls[-1]["arguments"]["filter"] == given["filter"]
    page.button("Next ›").click()
    expect(page.rows).to_have_count(6)


def test_a_summary_shows_the_kinds(hosted: Any) -> None:
    page = hosted("scan", {"view": "summary"})
    expect(page.kind("log / EVENT")).to_contain_text("120")
    page.kind("user / PROFILE").click()
    expect(page.rows).to_have_count(7)


def test_one_item_that_the_agent_has_got(hosted: Any) -> None:
    page = hosted("get", data.key("user#1", "PROFILE"))
    expect(page.find("#item .attributes")).to_contain_text("ada@example.com")
    page.button("Its partition").click()
    expect(page.rows).to_have_count(12)


def test_an_item_that_is_not_there(hosted: Any) -> None:
    page = hosted("get", data.key("user#none", "PROFILE"))
    expect(page.find("#table")).to_contain_text("There is no such item.")


def test_a_call_that_failed(hosted: Any) -> None:
    page = hosted("get", {"pk": "somebody#else", "sk": "x"})
    expect(page.find("#alert")).to_contain_text("outside this deployment")


def test_a_host_that_relays_nothing_still_shows_the_result(hosted: Any) -> None:
    page = hosted("query", {"pk": LOG, "limit": 5}, capabilities={})
    expect(page.rows).to_have_count(5)
    page.rows.first.click()
    expect(page.find("#item .attributes")).to_contain_text("level")
    for name in ("Next ›", "Edit", "Count the kinds"):
        expect(page.button(name)).to_have_count(0)
    assert page.calls == []


def test_what_is_too_long_for_one_answer_is_read_in_parts(hosted: Any) -> None:
    page = hosted("get", data.key("evil#large", "D"))
    expect(page.find("#item")).to_contain_text("too long for one answer")
    short = page.find("#item .attribute").filter(has_text="short").last
    expect(short.locator(".content")).to_have_text("s")
    expect(short.get_by_role("button")).to_have_count(0)
    for path, text in (("`a.b`.c", "deep deep"), ("long", "abab")):
        row = page.find("#item .attribute").filter(has_text=path).last
        row.get_by_role("button", name="Read").click()
        expect(row.locator(".content")).to_contain_text(text)
    for begun in ("20,000", "40,000"):
        page.button(f"Read on from {begun} of 60,000").click()
    texts = page.find("#item .attribute").filter(has_text="long").last.locator(".text")
    for _ in range(400):  # until the last part has come
        if len("".join(shown := texts.all_inner_texts())) >= 60_000:
            break
        page.window.wait_for_timeout(50)
    assert "".join(shown) == "ab" * 30_000


def test_the_page_speaks_as_the_specification_wants_it(hosted: Any) -> None:
    page = hosted("query", {"pk": LOG, "limit": 5}, theme="dark", displayMode="inline")
    expect(page.rows).to_have_count(5)
    expect(page.find("html")).to_have_attribute("style", re.compile("color-scheme: dark"))
    said = page.said()
    assert [message["method"] for message in said[:2]] == ["ui/initialize", "tools/call"]
    assert said[0]["params"]["protocolVersion"] == "2026-01-26"
    assert said[0]["params"].keys() == {"protocolVersion", "appInfo", "appCapabilities"}
    assert "ui/notifications/initialized" in [message.get("method") for message in said]
    heights = [m["params"]["height"] for m in said if m.get("method") == "ui/notifications/size-changed"]
    assert all(100 < height < 1200 for height in heights)
    assert heights
    for method in ("ping", "ui/resource-teardown"):
        assert page.window.evaluate("(method) => ask(method)", method)["result"] == {}
    assert page.window.evaluate("() => ask('tools/list')")["error"]["code"] == -32601


def test_the_page_grows_where_the_host_lets_it(hosted: Any) -> None:
    page = hosted("query", {"pk": LOG, "limit": 5}, availableDisplayModes=["inline", "fullscreen"])
    page.button("Expand").click()
    expect(page.button("Expand")).to_have_count(0)
    assert page.frame.evaluate("() => document.documentElement.scrollHeight <= innerHeight")


@pytest.mark.parametrize("era", ["2025-11-25", "2026-07-28"])
def test_only_hosts_that_show_pages_are_told_of_the_page(era: str, tmp_path: Path) -> None:
    def lists(capabilities: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
        with Wire(DDB_MCP, data.environment(tmp_path / "items.sqlite3")) as wire:
            meta: dict[str, Any] = {}
            if era == "2025-11-25":
                _shake_hands(wire, capabilities)
            else:
                meta = {"_meta": {**ENVELOPE, "io.modelcontextprotocol/clientCapabilities": capabilities}}
            tools = wire.ask("tools/list", meta)["result"]["tools"]
            resources = wire.ask("resources/list", meta)["result"]["resources"]
            [content] = wire.ask("resources/read", {"uri": mcp_apps.URI, **meta})["result"]["contents"]
            return tools, resources, content

    plain, plain_resources, _ = lists({})
    tools, resources, content = lists(APPS)
    assert [tool["name"] for tool in tools if "_meta" in tool] == ["get", "query", "scan"]
    for tool in tools:
        assert tool.pop("_meta", None) in (None, {"ui": {"resourceUri": "ui://ddb-mcp/browser.html"}})
    assert tools == plain
    assert not [resource for resource in plain_resources if resource["uri"].startswith("ui:")]
    [listed] = [resource for resource in resources if resource not in plain_resources]
    assert listed["uri"] == content["uri"] == "ui://ddb-mcp/browser.html"
    assert listed["mimeType"] == content["mimeType"] == "text/html;profile=mcp-app"
    assert content["text"] == browser_page()


def test_the_names_are_those_of_the_sdk() -> None:
    from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID

    assert (mcp_apps.EXTENSION_ID, mcp_apps.MIME_TYPE) == (EXTENSION_ID, APP_MIME_TYPE)


def test_the_page_is_small_and_needs_nothing_from_elsewhere() -> None:
    page = browser_page()
    assert len(page.encode()) < 60_000
    for place in ("http:", "https:", "//cdn", "@import", "url(", "<link", " src="):
        assert place not in page
    for trap in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "100vh"):
        assert trap not in page
