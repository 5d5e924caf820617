"""For any item and any paths, what `get` shows is what an engine's own projection gives."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb_mcp.core.expressions import ExpressionBuilder
from ddb_mcp.core.items import Item, parse_item
from ddb_mcp.core.keys import Prefix
from ddb_mcp.core.paths import Path, drop_nested, find_overlap, format_path, list_members
from ddb_mcp.service.service import DataService
from tests.direct.support import connected
from tests.support.strategies import as_boto3_has_it, examples, scalars, value

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from tests.support.engines import Engine

KEY = {"pk": {"S": "deploy#me#p"}, "sk": {"S": "s"}}

# ASCII: a multi-byte character in a projection ends dynoxide 1.2.1.
names = st.text("ab.[]`$# 0", min_size=1, max_size=3)
nested = st.recursive(
    scalars.filter(lambda scalar: all(isinstance(one, bool) or one.isascii() for one in scalar.values())),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda entries: {"L": entries}),
        st.dictionaries(names, inner, max_size=4).map(lambda inside: {"M": inside}),
    ),
    max_leaves=15,
)
stored = st.dictionaries(names, nested, min_size=1, max_size=4).map(lambda attributes: {**attributes, **KEY})


@st.composite
def items_with_paths(draw: st.DrawFn) -> tuple[Item, list[Path]]:
    """An item and paths, most of which lead to something in it; none that an engine would call overlapping."""
    item: Item = draw(stored)
    paths: list[Path] = []
    for _ in range(draw(st.integers(1, 5))):
        path: Path = ()
        within: Any = {"M": item}
        while (inner := dict(list_members(within))) and (not path or draw(st.integers(0, 3))):
            step = draw(st.sampled_from(list(inner)))
            path, within = (*path, step), inner[step]
        ends: list[Path] = [(), (), (), ("a",), (0,), (7,)]
        end = draw(st.sampled_from(ends))
        paths.append((*path, *end))
    return item, paths


def compatible(paths: Iterable[Path]) -> list[Path]:
    """As many of the paths, from the first on, as may stand in one expression."""
    kept: list[Path] = []
    for path in drop_nested([*paths, ("pk",), ("sk",)]):
        if not find_overlap([*kept, path]) and not any(_alike(path, other) or _alike(other, path) for other in kept):
            kept.append(path)
    return kept


def _alike(path: Path, other: Path) -> bool:
    """Whether ministack, which compares texts, takes `path` for a part of `other`: `$[` for a part of `$`."""
    one, two = (
        "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in each) for each in (path, other)
    )
    return one.startswith((f"{two}[", f"{two}."))


@pytest.fixture(scope="module", params=["dynoxide", pytest.param("ministack", marks=pytest.mark.extended)])
def shown(request: pytest.FixtureRequest, portal: BlockingPortal) -> Any:
    """What `get` shows of an item by paths, and what the engine itself gives."""
    engine: Engine = request.getfixturevalue(request.param)
    client, table = engine.client(), engine.create_table()
    service = DataService(
        connected(portal, engine.endpoint, table, "deploy#me"), Prefix("deploy#me"), max_result_bytes=1_000_000
    )

    def ask(item: Item, paths: list[Path]) -> tuple[Item, Any]:
        client.put_item(TableName=table, Item={name: as_boto3_has_it(typed) for name, typed in item.items()})
        arguments = {"pk": "deploy#me#p", "sk": "s", "attributes": list(map(format_path, paths))}
        result = portal.call(partial(service.run_operation, "get", arguments))
        expression = ExpressionBuilder()
        text = ",".join(expression.path(*path) for path in compatible(paths))
        given = client.get_item(
            TableName=table,
            Key={"pk": KEY["pk"], "sk": KEY["sk"]},
            ProjectionExpression=text,
            ExpressionAttributeNames=expression.names,
        )
        return parse_item(result["item"]), given["Item"]

    return ask


def in_python(item: dict[str, Any]) -> dict[str, Any]:
    """The values of an item as boto3 gives it, comparable with `value`."""

    def one(typed: dict[str, Any]) -> Any:
        ((kind, content),) = typed.items()
        if kind == "L":
            return kind, list(map(one, content))
        if kind == "M":
            return kind, {name: one(inner) for name, inner in content.items()}
        return (kind, bytes(content)) if kind == "B" else value(typed)

    return {name: one(typed) for name, typed in item.items()}


@given(drawn=items_with_paths())
@examples(60)
def test_what_get_shows_is_what_the_engine_projects(shown: Any, drawn: tuple[Item, list[Path]]) -> None:
    item, paths = drawn
    ours, theirs = shown(item, compatible(paths))
    assert {name: value(typed) for name, typed in ours.items()} == in_python(theirs)
