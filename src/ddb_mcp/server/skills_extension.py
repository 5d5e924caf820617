"""The Skills extension (SEP-2640, `io.modelcontextprotocol/skills`): `skills/list` and `skills/get`.

mcp 2.3 does not have it built in. This file goes when the SDK does; `resources/read` serves the files either way. The
shapes are those of ext-skills' specification/stable/skills.mdx, for protocol 2026-07-28; both eras get the same.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from mcp.server.extension import Extension, MethodBinding
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, PaginatedRequestParams, RequestParams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server

    from ddb_mcp.server.skill import Skill

# The skill changes with the installed package only. The listing is the same for every client.
CACHE = {"ttlMs": 3_600_000, "cacheScope": "public"}


class GetSkillParams(RequestParams):
    """Parameters of `skills/get`: the address of the skill's SKILL.md."""

    uri: str


class SkillsExtension(Extension):
    """Lists one skill, whose SKILL.md is served at `uri`."""

    identifier = "io.modelcontextprotocol/skills"

    def __init__(self, uri: str, skill: Skill) -> None:
        digest = f"sha256:{hashlib.sha256(skill.text.encode()).hexdigest()}"
        self._entry = {
            "uri": uri,
            "frontmatter": skill.front_matter,
            "resources": [{"uri": uri, "digest": digest, "size": skill.size}],
        }

    def methods(self) -> Sequence[MethodBinding]:
        return (
            MethodBinding("skills/list", PaginatedRequestParams, self._list),
            MethodBinding("skills/get", GetSkillParams, self._get),
        )

    async def _list(self, ctx: ServerRequestContext[Any], params: PaginatedRequestParams) -> dict[str, Any]:
        if params.cursor is not None:
            raise MCPError(INVALID_PARAMS, "Unknown cursor: the list has one page")
        return {"resultType": "complete", "skills": [self._entry], **CACHE}

    async def _get(self, ctx: ServerRequestContext[Any], params: GetSkillParams) -> dict[str, Any]:
        if params.uri != self._entry["uri"]:
            raise MCPError(INVALID_PARAMS, f"Unknown skill: {params.uri}")
        return {"resultType": "complete", "skill": self._entry, **CACHE}

    def add_to(self, server: Server[Any]) -> None:
        """Do for the low-level server what `MCPServer(extensions=…)` does."""
        for binding in self.methods():
            server.add_request_handler(binding.method, binding.params_type, binding.handler)
        server.extensions[self.identifier] = self.settings()
