"""The data browser: one HTML page, which hosts of MCP Apps show to people, and `ddb-mcp browse` on this machine."""

from functools import cache
from pathlib import Path

URI = "ui://ddb-mcp/browser.html"


@cache
def browser_page() -> str:
    """The page's HTML. It needs no network, and speaks MCP Apps to the window that holds it."""
    return Path(__file__).with_name("browser.html").read_text(encoding="utf-8")
