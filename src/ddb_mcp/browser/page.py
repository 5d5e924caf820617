"""The data browser's page, for a host of MCP Apps and for this machine's own."""

from functools import cache
from pathlib import Path


@cache
def browser_page() -> str:
    """Return the page's HTML. It needs no network, and speaks MCP Apps to its parent window."""
    return Path(__file__).with_name("page.html").read_text(encoding="utf-8")
