"""The Skills extension (SEP-2640, `io.modelcontextprotocol/skills`): `skills/list` and `skills/get`.

mcp 2.3 does not have it built in. This file goes when the SDK does; `resources/read` serves the files either way. The
shapes are those of ext-skills' specification/stable/skills.mdx, for protocol 2026-07-28; both eras get the same.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, PaginatedRequestParams, RequestParams

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server

    from ddb_mcp.server.skill import Skill

IDENTIFIER = "io.modelcontextprotocol/skills"
# The skill changes with the installed package only. The listing is the same for every client.
_COMPLETE = {"resultType": "complete", "ttlMs": 3_600_000, "cacheScope": "public"}


class GetSkillParams(RequestParams):
    """Parameters of `skills/get`: the address of the skill's SKILL.md."""

    uri: str


def add_skill(server: Server[Any], uri: str, skill: Skill) -> None:
    """Have the server list and describe one skill, whose SKILL.md is served at `uri`."""
    digest = f"sha256:{hashlib.sha256(skill.text.encode()).hexdigest()}"
    entry = {
        "uri": uri,
        "frontmatter": skill.front_matter,
        "resources": [{"uri": uri, "digest": digest, "size": skill.size}],
    }

    async def list_skills(ctx: ServerRequestContext[Any], params: PaginatedRequestParams) -> dict[str, Any]:
        if params.cursor is not None:
            raise MCPError(INVALID_PARAMS, "Unknown cursor: the list has one page")
        return {"skills": [entry], **_COMPLETE}

    async def get_skill(ctx: ServerRequestContext[Any], params: GetSkillParams) -> dict[str, Any]:
        if params.uri != uri:
            raise MCPError(INVALID_PARAMS, f"Unknown skill: {params.uri}")
        return {"skill": entry, **_COMPLETE}

    server.add_request_handler("skills/list", PaginatedRequestParams, list_skills)
    server.add_request_handler("skills/get", GetSkillParams, get_skill)
    server.extensions[IDENTIFIER] = {}
