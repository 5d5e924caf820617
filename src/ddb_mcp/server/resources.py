"""The skill and the data browser as resources, and the skill as a prompt for hosts without resources."""

from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from ddb_mcp.core.text import quote_start
from ddb_mcp.server import mcp_apps
from ddb_mcp.server.skill import Skill
from ddb_mcp.service.instructions import URI

_Context = ServerRequestContext[Any, Any]
_ListParams = types.PaginatedRequestParams | None


class SkillPages:
    """The handlers of `resources/*` and `prompts/*`. An unknown address or name is an MCPError, invalid params."""

    def __init__(self, skill: Skill) -> None:
        self._skill = skill
        self._name = skill.front_matter["name"]
        self._description = skill.front_matter["description"]

    async def list_resources(self, ctx: _Context, params: _ListParams) -> types.ListResourcesResult:
        resource = types.Resource(
            uri=URI, name=self._name, description=self._description, mime_type="text/markdown", size=self._skill.size
        )
        if not mcp_apps.is_supported_by(ctx):
            return types.ListResourcesResult(resources=[resource])
        return types.ListResourcesResult(resources=[resource, mcp_apps.describe_page()], cache_scope="private")

    async def list_templates(self, ctx: _Context, params: _ListParams) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=[])  # hosts ask every server that has resources

    async def read_resource(self, ctx: _Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        if str(params.uri) == mcp_apps.URI:
            return types.ReadResourceResult(contents=[mcp_apps.read_page()])
        if str(params.uri) != URI:
            raise MCPError(
                types.INVALID_PARAMS,
                f"Unknown resource: {quote_start(str(params.uri))}",
                {"uri": quote_start(str(params.uri))},
            )
        content = types.TextResourceContents(uri=URI, mime_type="text/markdown", text=self._skill.text)
        return types.ReadResourceResult(contents=[content])

    async def list_prompts(self, ctx: _Context, params: _ListParams) -> types.ListPromptsResult:
        prompt = types.Prompt(name=self._name, title="DynamoDB skill", description=self._description)
        return types.ListPromptsResult(prompts=[prompt])

    async def get_prompt(self, ctx: _Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        if params.name != self._name:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {quote_start(params.name)}")
        message = types.PromptMessage(role="user", content=types.TextContent(text=self._skill.text))
        return types.GetPromptResult(description=self._description, messages=[message])
