"""Bodies of requests and answers: within the tenant's room, and converted off the event loop where they are long."""

from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ddb_mcp.core import limits
from ddb_mcp.core.apart import is_large
from ddb_mcp.gateway.answers import encoded
from ddb_mcp.gateway.budgets import Room
from ddb_mcp.gateway.visits import Visit
from ddb_mcp.server.requests import json_object


def room_for_body(scope: Scope, visit: Visit) -> AbstractAsyncContextManager[None]:
    """Room for the whole announced body, so that no request waits for room in the middle of its body.

    Raises BudgetSpent where none comes free.
    """
    headers = Headers(scope=scope)
    chunked = "transfer-encoding" in headers
    announced = limits.BODY_MAX_BYTES if chunked else int(headers.get("content-length", 0))
    return visit.budget.room.hold(min(announced, limits.BODY_MAX_BYTES))


async def parsed(content: bytes, visit: Visit) -> dict[str, Any]:
    """The JSON object in a body, `{}` where the body is empty. Raises InvalidArgument where it is anything else."""
    if len(content) > limits.LOOP_BYTES:
        return await visit.budget.converted(partial(json_object, content))
    return json_object(content)


async def answered(document: dict[str, Any], visit: Visit) -> Response:
    """The answer with this document, charged to the tenant."""
    content = await visit.budget.converted(partial(encoded, document)) if is_large(document) else encoded(document)
    visit.budget.bytes.take(len(content))
    return _TenantResponse(content, visit.budget.room)


class _TenantResponse(Response):
    """A response that takes its tenant's room until the client has read it."""

    media_type = "application/json"

    def __init__(self, content: bytes, room: Room) -> None:
        super().__init__(content)
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._room.taken(len(self.body)):
            await super().__call__(scope, receive, send)
