"""Quick imports of the SDK change when work is done, never what comes of it. Each test is a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

from tests.protocol.wire import PATIENCE, clean_environment


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=4 * PATIENCE, env=clean_environment()
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


QUICK = """
from ddb_mcp.server import (sdk)
with sdk.quick_import():
    from mcp.server.lowlevel import Server
"""


def test_all_models_and_unions_of_the_sdk_come_out_the_same() -> None:
    describe = """
import json, sys
from pydantic import BaseModel, TypeAdapter
import mcp_types.methods, mcp.shared.auth, mcp.server.models, mcp.server.transport_security
for name, module in sorted(sys.modules.items()):
    if name.startswith(("mcp_types", "mcp.shared.auth", "mcp.server.models", "mcp.server.transport_security")):
        for attribute, value in sorted(vars(module).items()):
            if isinstance(value, TypeAdapter):
                print(name, attribute, json.dumps(value.json_schema()))
            elif isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel:
                print(name, attribute, json.dumps(value.model_json_schema()))
"""
    quick, plain = _run(QUICK + describe), _run(describe)
    assert quick.count("\n") > 500
    assert quick == plain


def test_the_packages_have_all_their_names() -> None:
    code = """
import mcp, mcp.server
print(sorted(name for package in (mcp, mcp.server) for name in package.__all__ if hasattr(package, name)))
print(mcp.ClientSession.__module__, mcp.types.Tool.__module__, type(mcp).__name__, type(mcp.server).__name__)
try:
    mcp.nothing
except AttributeError as error:
    print(error)
try:
    from mcp.server import nothing
except ImportError as error:
    print(type(error).__name__)
"""
    assert _run(QUICK + code) == _run(code)


def test_a_body_runs_once_however_many_threads_ask_first() -> None:
    code = """
import sys, threading
import mcp
assert "mcp.client" not in sys.modules
barrier, found = threading.Barrier(16), []
def ask():
    barrier.wait()
    from mcp import ClientSession
    found.append(ClientSession)
threads = [threading.Thread(target=ask) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(found), len(set(found)))
"""
    assert _run(QUICK + code) == "16 1\n"


def test_a_model_is_built_once_however_many_threads_use_it_first() -> None:
    code = """
import threading
from mcp_types import CallToolResult, Tool
barrier, found = threading.Barrier(16), []
def use():
    barrier.wait()
    found.append(CallToolResult.model_validate({"content": [{"type": "text", "text": "x"}]}).model_dump_json())
threads = [threading.Thread(target=use) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(found), len(set(found)))
"""
    assert _run(QUICK + code) == "16 1\n"


def test_a_body_that_fails_fails_again_and_can_succeed_later() -> None:
    code = """
import sys
sys.modules["mcp.client"] = None
import mcp
for _ in range(2):
    try:
        mcp.Client
    except ImportError as error:
        print(type(error).__name__)
del sys.modules["mcp.client"]
print(mcp.Client.__name__)
"""
    assert _run(QUICK + code) == "ModuleNotFoundError\nModuleNotFoundError\nClient\n"


def test_everything_is_as_before_afterwards() -> None:
    code = """
import gc, sys
from pydantic import BaseModel, TypeAdapter
before = dict(BaseModel.model_config), TypeAdapter._defer_build, gc.isenabled()
from ddb_mcp.server import (sdk)
try:
    with sdk.quick_import():
        import mcp_types
        raise KeyError
except KeyError:
    pass
print(before == (dict(BaseModel.model_config), TypeAdapter._defer_build, gc.isenabled()))
class Model(BaseModel):
    number: int
print(type(Model.__dict__["__pydantic_validator__"]).__name__, type(TypeAdapter(int | str).validator).__name__)
import uvicorn
print(uvicorn.Server.__name__)
"""
    assert _run(code) == "True\nSchemaValidator SchemaValidator\nServer\n"


def test_stdio_imports_none_of_what_it_never_needs() -> None:
    code = """
import sys
print([name for name in ("mcp.client", "mcp.server.mcpserver", "httpx", "httpx2", "uvicorn", "jsonschema", "boto3",
    "botocore") if name in sys.modules])
"""
    assert _run(QUICK + code) == "[]\n"
