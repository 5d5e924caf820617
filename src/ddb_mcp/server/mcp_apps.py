"""The data browser as an MCP App: one HTML page that hosts show to people beside a tool's result.

The constants are those of `mcp.server.apps`, whose import costs more than the whole server's.
https://github.com/modelcontextprotocol/ext-apps (2026-01-26)
"""

from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext

from ddb_mcp.browser.page import browser_page

EXTENSION_ID = "io.modelcontextprotocol/ui"
MIME_TYPE = "text/html;profile=mcp-app"
URI = "ui://ddb-mcp/browser.html"
# Tools whose results the page shows.
TOOLS = frozenset({"query", "scan", "get"})
TOOL_META = {"ui": {"resourceUri": URI}}


def is_supported_by(ctx: ServerRequestContext[Any, Any]) -> bool:
    """Return whether the client has said that it shows pages of this type. No other client is told of the page."""
    capabilities = ctx.session.client_capabilities
    settings = ((capabilities and capabilities.extensions) or {}).get(EXTENSION_ID) or {}
    mime_types = settings.get("mimeTypes")
    return isinstance(mime_types, list) and MIME_TYPE in mime_types


def describe_page() -> types.Resource:
    """Return the page as `resources/list` names it."""
    return types.Resource(
        uri=URI,
        name="data-browser",
        title="Data browser",
        description="Shows people the items that a query, scan or get has read.",
        mime_type=MIME_TYPE,
    )


def read_page() -> types.TextResourceContents:
    """Return the page as `resources/read` gives it. It asks its host for no permission and no address."""
    meta = {"ui": {"prefersBorder": True}}
    return types.TextResourceContents(uri=URI, mime_type=MIME_TYPE, text=browser_page(), _meta=meta)
