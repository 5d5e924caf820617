"""All that works round the MCP SDK (mcp 2.3), each part with its reason and the condition under which it goes.

The streams in `lines.py` stand in for the SDK's own too, and say why.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import logging
import sys
import threading
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from mcp.server.lowlevel import Server

logger = logging.getLogger(__name__)


# Start-up


@contextmanager
def quick_import() -> Iterator[None]:
    """While this is open, what imports the SDK for stdio takes about half the time: it does only what is needed.

    Every saving postpones work to its first use; none replaces anything. Each goes when the SDK has it itself: packages
    that import on first use (Python 3.15's lazy imports would do), and `defer_build` on its models.

    - The bodies of the packages `mcp` and `mcp.server` import the client, `MCPServer` and what those need, only to
      re-export them. Here a body runs when something first asks its package for a name that is not there yet.
    - pydantic builds the validators of the SDK's 600 models and of the unions over them. Here it builds each on first
      use, which is on the event loop's thread.
    - sse-starlette imports uvicorn, where there is one, to learn when it stops. Over stdio it never starts.
    - The garbage collector keeps walking over objects that all stay. Here it rests, and `gc.freeze` spares it the walk
      from then on.
    """
    collecting = gc.isenabled()
    gc.disable()
    from pydantic import BaseModel, TypeAdapter

    for package in ("mcp", "mcp.server"):
        _defer(package)
    adapters_deferred = TypeAdapter._defer_build
    BaseModel.model_config["defer_build"] = True
    TypeAdapter._defer_build = property(lambda self: True)  # type: ignore[method-assign, assignment]
    sys.modules.setdefault("uvicorn", None)  # type: ignore[arg-type]  # importing it raises ImportError
    try:
        yield
    finally:
        del BaseModel.model_config["defer_build"]
        TypeAdapter._defer_build = adapters_deferred  # type: ignore[method-assign]
        if sys.modules["uvicorn"] is None:
            del sys.modules["uvicorn"]
        gc.freeze()
        if collecting:
            gc.enable()


class _DeferredPackage(ModuleType):
    """A package in `sys.modules` whose submodules can be imported although its own body has yet to run."""

    def __getattr__(self, name: str) -> Any:
        with _first_use:  # other threads wait here until the body is done; the body itself passes
            if self.__name__ in _deferred:
                _deferred.remove(self.__name__)
                try:
                    self.__loader__.exec_module(self)  # type: ignore[union-attr]
                except BaseException:
                    _deferred.add(self.__name__)
                    raise
                self.__class__ = ModuleType  # type: ignore[assignment]  # nothing is special about it any more
            try:
                return self.__dict__[name]
            except KeyError:
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name) from None


_first_use = threading.RLock()
_deferred: set[str] = set()


def _defer(name: str) -> None:
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None:
        return
    package = _DeferredPackage(name)
    # What the import system sets on a package before it runs its body.
    package.__spec__ = spec
    package.__loader__ = spec.loader
    package.__file__ = spec.origin
    package.__package__ = name
    package.__path__ = list(spec.submodule_search_locations or ())
    _deferred.add(name)
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)


# Answers


def repair(server: Server[Any]) -> None:
    """Adds to `server` what the SDK leaves out of, or gets wrong in, its answers on every transport."""
    from mcp.shared.exceptions import MCPError
    from mcp_types import INTERNAL_ERROR
    from pydantic import ValidationError
    from pydantic_core import to_json

    from ddb_mcp.server.messages import carried_arguments

    async def restore_arguments(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Gives a call the arguments that came with its HTTP request, past the SDK's parser, which rounds numbers."""
        arguments = carried_arguments(ctx.request)
        if arguments is not None:
            ctx = dataclasses.replace(ctx, params={**(ctx.params or {}), "arguments": arguments})
        return await call_next(ctx)

    async def restore_extensions(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Puts `capabilities.extensions` into the answer to `initialize`.

        The SDK shapes that answer by the schema of 2025-11-25, which lacks the field, so that no client of that era
        would learn of the extensions. Goes when the SDK lets it through.
        """
        result = await call_next(ctx)
        if ctx.method == "initialize" and server.extensions and isinstance(result, dict):
            result["capabilities"]["extensions"] = server.extensions
        return result

    async def contain_failures(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Answers a request whose handler failed, or whose answer is no JSON, with a plain internal error.

        The SDK sends a handshake-era client the text of any exception, under code 0. And a lone surrogate, which can
        come from a file name or an HTTP body, makes it fail only as it writes: over stdio that ends the process. Goes
        when it does neither.
        """
        try:
            try:
                result = await call_next(ctx)
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

    server.middleware += [restore_extensions, contain_failures, restore_arguments]
