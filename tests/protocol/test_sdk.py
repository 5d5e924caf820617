"""Quick imports of the SDK change when work is done, never what comes of it. Each test is a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.protocol.wire import clean_environment
from tests.support.waiting import PATIENCE


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=4 * PATIENCE, env=clean_environment()
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


QUICK = """
from ddb_mcp.server import (sdk)
with sdk.fast_import():
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


def test_everything_is_as_before_afterwards() -> None:
    code = """
import gc
from pydantic import BaseModel, TypeAdapter
before = dict(BaseModel.model_config), vars(TypeAdapter).copy(), gc.isenabled()
from ddb_mcp.server import (sdk)
try:
    with sdk.fast_import():
        import mcp_types
        raise KeyError
except KeyError:
    pass
print(before == (dict(BaseModel.model_config), vars(TypeAdapter).copy(), gc.isenabled()))
class Model(BaseModel):
    number: int
print(type(Model.__dict__["__pydantic_validator__"]).__name__, type(TypeAdapter(int | str).validator).__name__)
"""
    assert _run(code) == "True\nSchemaValidator SchemaValidator\n"


@pytest.mark.parametrize("gone", ["del TypeAdapter._defer_build", "TypeAdapter._defer_build = None", ""])
def test_a_private_name_of_pydantic_that_is_gone_or_changed_costs_time_alone(gone: str) -> None:
    """Where it is missing, pydantic itself cannot do without it: then its class has another, of the same effect."""
    code = f"""
from pydantic import TypeAdapter
kept = TypeAdapter._defer_build
{gone}
from ddb_mcp.server import sdk
with sdk.fast_import():
    here = TypeAdapter.__dict__.get("_defer_build")
    TypeAdapter._defer_build = kept  # for pydantic's own use
    from mcp.server.lowlevel import Server
    from ddb_mcp.server import stdio_streams
from mcp_types import CallToolResult
print(type(here).__name__, CallToolResult.model_validate({{"content": []}}).model_dump_json(exclude_unset=True))
"""
    kind = {"del TypeAdapter._defer_build": "NoneType", "TypeAdapter._defer_build = None": "NoneType", "": "property"}
    assert _run(code) == f'{kind[gone]} {{"content":[]}}\n'


def test_stdio_imports_none_of_what_it_never_needs() -> None:
    code = """
import sys
from ddb_mcp.server import sdk
with sdk.fast_import():
    import ddb_mcp.server.app, ddb_mcp.server.stdio_streams
print([name for name in ("jsonschema", "boto3", "botocore", "ddb_mcp.server.http_app", "ddb_mcp.web.serving")
    if name in sys.modules])
"""
    assert _run(code) == "[]\n"
