"""The Skills extension, as a host uses it to check what it loads, in both protocol eras."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import pytest

from ddb_mcp.service import instructions
from tests.protocol.wire import DDB_MCP, ENVELOPE, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module", params=["2025-11-25", "2026-07-28"])
def ask(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    with Wire(DDB_MCP, {"DDB_MCP_LOCAL_PATH": str(tmp_path_factory.mktemp("skills") / "data.sqlite")}) as wire:
        meta: dict[str, Any] = {}
        if request.param == "2025-11-25":
            wire.shake_hands()
        else:
            meta = {"_meta": ENVELOPE}
        yield lambda method, **params: wire.ask(method, {**params, **meta})


def test_each_listed_file_is_what_its_digest_says(ask: Ask) -> None:
    result = ask("skills/list")["result"]
    assert result["resultType"] == "complete"
    assert result["ttlMs"] > 0
    assert result["cacheScope"] == "public"
    [skill] = result["skills"]
    assert skill["uri"] == f"skill://{skill['frontmatter']['name']}/SKILL.md"
    assert skill["uri"] in [file["uri"] for file in skill["resources"]]
    for file in skill["resources"]:
        assert file["uri"].startswith(f"skill://{skill['frontmatter']['name']}/")
        [content] = ask("resources/read", uri=file["uri"])["result"]["contents"]
        raw = content["text"].encode()
        assert file["digest"] == "sha256:" + hashlib.sha256(raw).hexdigest()
        assert file["size"] == len(raw)


def test_the_front_matter_is_that_of_the_file(ask: Ask) -> None:
    [skill] = ask("skills/list")["result"]["skills"]
    [content] = ask("resources/read", uri=skill["uri"])["result"]["contents"]
    header = re.match(r"---\n(.*?)\n---\n", content["text"], re.DOTALL)
    assert header
    assert "\n".join(f"{name}: {value}" for name, value in skill["frontmatter"].items()) == header[1]


def test_a_skill_is_the_same_alone_as_in_the_list(ask: Ask) -> None:
    [listed] = ask("skills/list")["result"]["skills"]
    result = ask("skills/get", uri=instructions.URI)["result"]
    assert result["skill"] == listed
    assert (result["resultType"], result["cacheScope"]) == ("complete", "public")


WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "an unknown skill": ("skills/get", {"uri": "skill://nope/SKILL.md"}),
    "a folder": ("skills/get", {"uri": instructions.URI.removesuffix("/SKILL.md")}),
    "no uri": ("skills/get", {}),
    "an unknown cursor": ("skills/list", {"cursor": "2"}),
}


@pytest.mark.parametrize(("method", "params"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_request_is_an_invalid_parameter(ask: Ask, method: str, params: dict[str, Any]) -> None:
    assert ask(method, **params)["error"]["code"] == -32602
