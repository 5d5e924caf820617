"""Workarounds for the MCP SDK (mcp 2.3), each with its reason and the condition under which it can be deleted.

The streams in `stdio_streams.py` stand in for the SDK's own too, and say why.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from mcp.server.lowlevel import Server

logger = logging.getLogger(__name__)


# Start-up


@contextmanager
def fast_import() -> Iterator[None]:
    """Make imports of the SDK faster while this is open: work is deferred to its first use, and nothing is replaced.

    - pydantic builds the validators of the SDK's 600 models and of the unions over them. Here it builds each on first
      use, which is on the event loop's thread. Goes when the SDK's models say `defer_build` themselves.
    - The garbage collector keeps walking over objects that all stay. Here it rests, and `gc.freeze` spares it the walk
      from then on.
    """
    collecting = gc.isenabled()
    gc.disable()
    from pydantic import BaseModel

    BaseModel.model_config["defer_build"] = True
    try:
        with _defer_unions():
            yield
    finally:
        del BaseModel.model_config["defer_build"]
        gc.freeze()
        if collecting:
            gc.enable()


@contextmanager
def _defer_unions() -> Iterator[None]:
    """Defer `TypeAdapter`s of models too, for which pydantic has only a private way, if it exists."""
    from pydantic import TypeAdapter

    before = getattr(TypeAdapter, "_defer_build", None)
    if not isinstance(before, property):
        yield
        return
    TypeAdapter._defer_build = property(lambda self: True)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        TypeAdapter._defer_build = before  # type: ignore[method-assign, assignment]


# Answers


def install_workarounds(server: Server[Any]) -> None:
    """Add to `server` what the SDK leaves out of, or gets wrong in, its requests and answers on every transport."""
    from mcp.shared.exceptions import MCPError
    from mcp_types import INTERNAL_ERROR
    from pydantic import ValidationError
    from pydantic_core import to_json

    from ddb_mcp.server.messages import get_attached_arguments

    async def correct(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Serve a request with these corrections, each until the SDK does the same:

        - A call gets the arguments that came with its HTTP request, past the SDK's parser, which rounds numbers.
        - The answer to `initialize` has `capabilities.extensions`. The SDK shapes it by the schema of 2025-11-25, which
          lacks the field, so that no client of that era would learn of the extensions.
        - A handler that fails, or whose answer is no JSON, is answered with a plain internal error. The SDK sends a
          handshake-era client the text of any exception, under code 0. And a lone surrogate, which can come from a
          file name or an HTTP body, makes it fail only as it writes: over stdio that ends the process.
        """
        arguments = get_attached_arguments(ctx.request)
        if arguments is not None:
            ctx = dataclasses.replace(ctx, params={**(ctx.params or {}), "arguments": arguments})
        try:
            try:
                result = await call_next(ctx)
                if ctx.method == "initialize" and server.extensions and isinstance(result, dict):
                    result["capabilities"]["extensions"] = server.extensions
                to_json(result)
            except MCPError as error:
                to_json(error.error)
                raise
        except (MCPError, ValidationError):
            raise
        except Exception:
            logger.exception("Request %r failed", ctx.method)
            raise MCPError(code=INTERNAL_ERROR, message="Internal error") from None
        return result

    server.middleware.append(correct)
