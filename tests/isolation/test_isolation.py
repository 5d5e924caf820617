"""Whatever deployments with look-alike prefixes do, each sees exactly its own items, and no call touches another's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run

from ddb_mcp.core import limits
from ddb_mcp.core.keys import Prefix
from ddb_mcp.gateway import tenant_requests
from ddb_mcp.stores.local.store import LocalStore
from tests.isolation.model import Item, Key, Model, joined, key_of, owns
from tests.isolation.worlds import (
    WRITES_A_CALL,
    Answer,
    CarelessStore,
    Interface,
    World,
    engine_table,
    local_table,
    over_gateway,
    over_mcp,
)
from tests.support.engines import Engine
from tests.support.strategies import examples, hostile_keys

DEPLOYMENTS = 3
TRIOS = [
    ("deploy#abc1", "deploy#abc12", "deploy#abc1_"),  # one begins with another, and separators differ
    ("deploy#abc1", 'deploy#abc1"', "deploy#abc1$"),  # the characters right before and after the joiner
    ("dep_\u00e91_", "dep_e\u03011_", "dep_\u00e91\uff3f"),  # alike to the eye, and after normalisation
    ("deploy#abc1", "Deploy#abc1", "deploy#abc1\u200b"),
]
BYSTANDERS = ["deploy#", "deploy#abc", "zzz", "dep_", *{key for trio in TRIOS for key in (*trio, *map(joined, trio))}]
"""Partition keys in the same table. Those of no deployment are nobody's to see."""
REFUSALS = ("prefix_violation", "invalid_argument")

deployments = st.integers(0, DEPLOYMENTS - 1)
ways = st.integers(0, 1)  # the number of an interface, where a deployment has several
suffixes = st.sampled_from(["a", "a#1", "b"])
sort_keys = st.sampled_from(["1", "1#2", "2", "owner"])
bounds = st.none() | st.integers(0, 3)
attributes = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(0, 3),
        "m": st.dictionaries(st.sampled_from("xy"), st.integers(0, 9)),
        "long": st.sampled_from([40, 9_000]).map("long ".__mul__),
    },
)
removals = st.lists(st.sampled_from(["long", "m.x", "m.y"]), max_size=2, unique=True)
listings = st.fixed_dictionaries(
    {},
    optional={
        "suffix": suffixes,
        "at_least": bounds,
        "view": st.sampled_from(["items", "keys", "count", "summary"]),
        "limit": st.integers(1, 3),
        "attributes": st.sampled_from([["n"], ["m.x", "owned-by"], ["absent"]]),
    },
)


def mark(number: int | str) -> str:
    """Return the text that every item of a deployment holds, in values, attribute names and some sort keys."""
    return f"owned-by-{number}"


def condition(at_least: int | None) -> dict[str, Any]:
    return {} if at_least is None else {"n": {"ge": at_least}}


class Isolation(RuleBasedStateMachine):
    """Deployments over one table, and a model of the table. Every answer is searched for what others stored."""

    world: ClassVar[World]
    interfaces: ClassVar[dict[str, list[Interface]]]
    cursors = Bundle("cursors")

    @initialize(trio=st.sampled_from(TRIOS))
    def start(self, trio: tuple[str, ...]) -> None:
        self.prefixes = trio
        foreign = [pk for pk in BYSTANDERS if not any(owns(prefix, pk) for prefix in trio)]
        items = [{"pk": pk, "sk": sk, "n": 3, "owner": mark("nobody")} for pk in foreign for sk in ("1", "2")]
        self.model = Model({key_of(item): item for item in items})
        self.world.table.replace(items)
        for prefix in trio:
            if prefix not in self.interfaces:
                self.interfaces[prefix] = self.world.connect(prefix)
        for who in range(DEPLOYMENTS):
            self.store_several(who, who, {key: {"n": 1} for key in (("a", "1"), ("a", "owner"), ("a#1", "1"))})
        for who in range(DEPLOYMENTS):
            assert sum(page["count"] for page in self.pages(who, who, "scan", view="keys", limit=1)) == 3

    def call(self, who: int, way: int, operation: str, /, **arguments: Any) -> Answer:
        """Call an operation as one of the deployments. No answer shows anything of another deployment."""
        interfaces = self.interfaces[self.prefixes[who]]
        answer = interfaces[way % len(interfaces)](operation, arguments)
        for other in ("nobody", *range(DEPLOYMENTS)):
            assert other == who or mark(other) not in answer.text, (operation, arguments, answer)
        if not self.world.counts_others:
            own = joined(self.prefixes[who])  # an item with this key alone is read, and never shown
            assert answer.result.get("scanned", 0) <= sum(pk.startswith(own) for pk, _ in self.model.items), answer
        return answer

    def done(self, who: int, way: int, operation: str, /, **arguments: Any) -> dict[str, Any]:
        answer = self.call(who, way, operation, **arguments)
        assert answer.code is None, (operation, arguments, answer)
        return answer.result

    def owned(self, who: int) -> dict[Key, Item]:
        return self.model.owned(self.prefixes[who])

    def pk(self, who: int, suffix: str) -> str:
        return joined(self.prefixes[who]) + suffix

    def key(self, who: int, suffix: str, sk: str) -> Item:
        return {"pk": self.pk(who, suffix), "sk": mark(who) if sk == "owner" else sk}

    def item(self, who: int, suffix: str, sk: str, content: Item) -> Item:
        return {**self.key(who, suffix, sk), mark(who): True, "owner": mark(who), **content}

    # Writes

    @rule(who=deployments, way=ways, suffix=suffixes, sk=sort_keys, content=attributes, guard=bounds | st.just("new"))
    def put(self, who: int, way: int, suffix: str, sk: str, content: Item, guard: int | str | None) -> None:
        item = self.item(who, suffix, sk, content)
        stored = self.model.items.get(key_of(item))
        options: dict[str, Any]
        if guard == "new":
            holds, options = stored is None, {"create_only": True}
        else:
            assert not isinstance(guard, str)
            holds = guard is None or self.model.matches(key_of(item), guard)
            options = {} if guard is None else {"expect": condition(guard)}
        answer = self.call(who, way, "put", item=item, **options)
        if not holds:
            shown = answer.result.get("item", {})
            assert answer.code == "condition_failed"
            assert "outline" in shown or shown.keys() == (stored or {}).keys()
            return
        assert answer.code is None, answer
        assert answer.result["created"] is (stored is None)
        assert answer.result.get("dropped", {}).keys() >= (stored or {}).keys() - item.keys()
        self.model.put(item)

    @rule(who=deployments, way=ways, contents=st.dictionaries(st.tuples(suffixes, sort_keys), attributes, min_size=1))
    def put_several(self, who: int, way: int, contents: dict[tuple[str, str], Item]) -> None:
        self.store_several(who, way, contents)

    def store_several(self, who: int, way: int, contents: dict[tuple[str, str], Item]) -> None:
        items = [self.item(who, suffix, sk, content) for (suffix, sk), content in contents.items()]
        assert self.done(who, way, "put", items=items)["written"] == len(items)
        for item in items:
            self.model.put(item)

    @rule(
        who=deployments, way=ways, suffix=suffixes, sk=sort_keys, content=attributes, remove=removals, add=st.booleans()
    )
    def merge(self, who: int, way: int, suffix: str, sk: str, content: Item, remove: list[str], add: bool) -> None:
        touched = {path.partition(".")[0] for path in remove} | ({"n"} if add else set())
        item = self.item(who, suffix, sk, {name: value for name, value in content.items() if name not in touched})
        add_n = {"n": 1} if add else {}
        result = self.done(who, way, "put", item=item, merge=True, remove=remove, add=add_n)
        self.model.merge(item, remove, add_n)
        assert result.get("updated", {}) == {name: self.model.items[key_of(item)][name] for name in add_n}

    @rule(
        who=deployments,
        way=ways,
        keys=st.lists(st.tuples(suffixes, sort_keys), min_size=1, max_size=2, unique=True),
        at_least=bounds,
    )
    def delete(self, who: int, way: int, keys: list[tuple[str, str]], at_least: int | None) -> None:
        named = [self.key(who, *key) for key in keys]
        matched = [key_of(key) for key in named if at_least is None or self.model.matches(key_of(key), at_least)]
        options = {} if at_least is None else {"expect": condition(at_least)}
        if len(named) > 1:
            result = self.done(who, way, "delete", keys=named, **options)
            assert result["deletedCount"] == self.model.delete(*matched)
            assert len(result["failed"]) == len(named) - len(matched)
        elif matched:
            result = self.done(who, way, "delete", **named[0], **options)
            assert ("item" in result) is (matched[0] in self.model.items)
            assert result["deleted"] is bool(self.model.delete(*matched))
        else:
            assert self.call(who, way, "delete", **named[0], **options).code == "condition_failed"

    @rule(
        who=deployments,
        way=ways,
        suffix=suffixes,
        whole=st.booleans(),
        at_least=bounds,
        kind=st.sampled_from(["item", "remove", "add", "copy_to", "move_to", "delete", "dry_run"]),
    )
    def where(self, who: int, way: int, suffix: str, whole: bool, at_least: int | None, kind: str) -> None:
        pk = self.pk(who, suffix)
        words: dict[str, Any] = {"pk": pk}
        if whole and kind not in ("copy_to", "move_to"):  # a filter narrows
            words, at_least = {}, at_least or 0
        selected = self.model.select(self.prefixes[who], words.get("pk"), at_least)
        target = self.pk(who, "copies")
        changes: dict[str, dict[str, Any]] = {
            "item": {"item": {"changed": mark(who)}},
            "remove": {"remove": ["long", "m.x"]},
            "add": {"add": {"n": 1}},
            "copy_to": {"copy_to": target},
            "move_to": {"move_to": target},
            "dry_run": {"dry_run": True, "item": {"changed": True}},
            "delete": {},
        }
        change = changes[kind]
        operation = "delete" if kind == "delete" else "put"
        results = list(
            self.pages(who, way, operation, where={**words, "filter": condition(at_least) or None}, **change)
        )
        written = len(selected)
        if kind in ("copy_to", "move_to"):
            copied = self.model.copy(selected, target)
            written = len(copied)
            if kind == "move_to":
                self.model.delete(*copied)
        elif kind == "delete":
            self.model.delete(*selected)
        elif kind != "dry_run":
            for pk, sk in selected:
                item = {"pk": pk, "sk": sk, **change.get("item", {})}
                self.model.merge(item, change.get("remove", []), change.get("add", {}))
        assert sum(result["matched"] for result in results) == len(selected), results
        if kind != "dry_run":
            counted = "deletedCount" if kind == "delete" else "written"
            assert sum(result[counted] for result in results) == written, results
            assert sum(result["failedCount"] for result in results) == len(selected) - written, results

    # Reads

    def pages(self, who: int, way: int, operation: str, /, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Follow cursors to the end. Each cursor is refused to the other deployments."""
        page = self.done(who, way, operation, **arguments)
        yield page
        while not page["complete"]:
            self.refuse_to_others(who, way, operation, {**arguments, "cursor": page["cursor"]})
            page = self.done(who, way, operation, **arguments, cursor=page["cursor"])
            yield page

    def refuse_to_others(self, who: int, way: int, operation: str, arguments: dict[str, Any]) -> None:
        """Use a cursor of one deployment in the same call of the others."""
        for other in range(DEPLOYMENTS):
            if other != who:
                translated = self.translate(arguments, who, other)
                assert self.call(other, way, operation, **translated).code == "invalid_cursor"
                if translated != arguments:
                    assert self.call(other, way, operation, **arguments).code == "prefix_violation"

    def translate(self, value: Any, who: int, other: int) -> Any:
        """Return the arguments with one deployment's keys turned into another's."""
        if isinstance(value, dict):
            return {name: self.translate(member, who, other) for name, member in value.items()}
        is_key = isinstance(value, str) and owns(self.prefixes[who], value)
        return joined(self.prefixes[other]) + value.removeprefix(joined(self.prefixes[who])) if is_key else value

    @staticmethod
    def listing(pk: str | None, chosen: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        arguments = {name: value for name, value in chosen.items() if name not in ("suffix", "at_least")}
        arguments["filter"] = condition(chosen.get("at_least"))
        return ("scan", arguments) if pk is None else ("query", {**arguments, "pk": pk})

    @rule(target=cursors, who=deployments, way=ways, chosen=listings)
    def read(self, who: int, way: int, chosen: dict[str, Any]) -> Any:
        pk = self.pk(who, chosen["suffix"]) if "suffix" in chosen else None
        operation, arguments = self.listing(pk, chosen)
        selected = self.model.select(self.prefixes[who], pk, chosen.get("at_least"))
        page = self.done(who, way, operation, **arguments)
        self.check_page(selected, page, chosen)
        if page["complete"] and chosen.get("view") != "summary":
            assert page["count"] == len(selected)
        return multiple() if page["complete"] else (who, operation, arguments, page["cursor"])

    def check_page(self, selected: dict[Key, Item], page: dict[str, Any], chosen: dict[str, Any]) -> None:
        assert page["count"] <= len(selected)
        assert {key_of(item) for item in page.get("items", [])} <= selected.keys()
        if page["complete"] and chosen.get("view") == "summary":
            assert sum(group["count"] for group in page["groups"]) == page["count"] == len(selected)

    @rule(way=ways, listing=cursors)
    def go_on(self, way: int, listing: tuple[int, str, dict[str, Any], str]) -> None:
        """Use a cursor of some time ago, as its owner and as the others."""
        who, operation, arguments, cursor = listing
        self.refuse_to_others(who, way, operation, {**arguments, "cursor": cursor})
        page = self.done(who, way, operation, **arguments, cursor=cursor)
        assert {key_of(item) for item in page.get("items", [])} <= self.owned(who).keys()

    @rule(who=deployments, way=ways, chosen=listings)
    def walk(self, who: int, way: int, chosen: dict[str, Any]) -> None:
        pk = self.pk(who, chosen["suffix"]) if "suffix" in chosen else None
        operation, arguments = self.listing(pk, {**chosen, "view": "keys", "limit": chosen.get("limit", 2)})
        keys = [key_of(item) for page in self.pages(who, way, operation, **arguments) for item in page["items"]]
        selected = self.model.select(self.prefixes[who], pk, chosen.get("at_least"))
        assert sorted(keys) == sorted(selected)

    @rule(who=deployments, way=ways, suffix=suffixes, sk=sort_keys)
    def get(self, who: int, way: int, suffix: str, sk: str) -> None:
        key = self.key(who, suffix, sk)
        stored = self.model.items.get(key_of(key))
        result = self.done(who, way, "get", **key)
        assert result["found"] is (stored is not None)
        assert result.get("item") == stored or result["outlined"]

    # Keys of others

    @rule(data=st.data(), who=deployments, way=ways, sk=sort_keys)
    def refuse(self, data: st.DataObject, who: int, way: int, sk: str) -> None:
        """No call takes a key that is not the deployment's own, whatever it looks like."""
        own, named = self.prefixes[who], self.key(who, "a", sk)
        foreign = [pk for pk, _ in self.model.items if not owns(own, pk)]
        pk = data.draw(
            st.sampled_from(sorted(foreign)) | hostile_keys(Prefix(own)).filter(lambda pk: not owns(own, pk))
        )
        key = {**named, "pk": pk}
        calls: list[tuple[str, dict[str, Any]]] = [
            ("get", key),
            ("put", {"item": key}),
            ("put", {"items": [named, key]}),
            ("put", {"item": key, "merge": True, "add": {"n": 1}}),
            ("put", {"item": key, "create_only": True}),
            ("put", {"where": {"pk": pk}, "add": {"n": 1}}),
            ("put", {"where": {"pk": named["pk"]}, "copy_to": pk}),
            ("put", {"where": {"pk": named["pk"]}, "move_to": pk}),
            ("delete", key),
            ("delete", {"keys": [named, key]}),
            ("delete", {"where": {"pk": pk}}),
            ("delete", {"where": {"pk_prefix": pk}}),
            ("query", {"pk": pk}),
            *([] if pk == joined(own) else [("scan", {"pk_prefix": pk})]),
        ]
        operation, arguments = data.draw(st.sampled_from(calls))
        if not pk and operation == "scan":
            return  # an empty optional parameter counts as omitted
        assert self.call(who, way, operation, **arguments).code in REFUSALS

    @rule(who=deployments, way=ways, other=deployments, suffix=suffixes)
    def filter_by_keys(self, who: int, way: int, other: int, suffix: str) -> None:
        """A filter may name any key, and finds own items alone."""
        for wanted in ({"begins_with": joined(self.prefixes[other])}, {"eq": self.pk(other, suffix)}, {"gt": "!"}):
            result = self.done(who, way, "scan", filter={"pk": wanted}, view="keys", limit=limits.LIMIT_MAX)
            assert {key_of(item) for item in result["items"]} <= self.owned(who).keys()
            if who != other:
                matched = self.done(who, way, "delete", where={"filter": {"pk": wanted}}, dry_run=True)["matched"]
                assert matched == (len(self.owned(who)) if "gt" in wanted else 0)

    # What holds after every step

    @invariant()
    def each_sees_exactly_its_own_items(self) -> None:
        for who in range(DEPLOYMENTS):
            pages = self.pages(who, who, "scan", view="items", limit=limits.LIMIT_MAX)
            seen = [item for page in pages for item in page["items"]]
            assert sorted(map(key_of, seen)) == sorted(self.owned(who))

    @invariant()
    def the_table_holds_the_union(self) -> None:
        stored = self.world.table.read()
        assert {key_of(item): item for item in stored} == self.model.items
        assert len(stored) == len(self.model.items)


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


def _local(stack: ExitStack, portal: BlockingPortal, folder: Path, engine: Callable[[], Engine]) -> World:
    return over_mcp(stack, portal, *local_table(stack, portal, folder, LocalStore), counts_others=False)


def _careless(stack: ExitStack, portal: BlockingPortal, folder: Path, engine: Callable[[], Engine]) -> World:
    return over_mcp(stack, portal, *local_table(stack, portal, folder, CarelessStore), counts_others=True)


def _direct(stack: ExitStack, portal: BlockingPortal, folder: Path, engine: Callable[[], Engine]) -> World:
    return over_mcp(stack, portal, *engine_table(portal, engine()), counts_others=True)


def _gateway(stack: ExitStack, portal: BlockingPortal, folder: Path, engine: Callable[[], Engine]) -> World:
    return over_gateway(stack, portal, *local_table(stack, portal, folder, LocalStore), folder)


def _gateway_direct(stack: ExitStack, portal: BlockingPortal, folder: Path, engine: Callable[[], Engine]) -> World:
    return over_gateway(stack, portal, *engine_table(portal, engine()), folder)


WORLDS = {
    "local": _local,
    "careless-store": _careless,
    "direct": _direct,
    "gateway": _gateway,
    "gateway-direct": _gateway_direct,
}


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, portal: BlockingPortal, tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield WORLDS[request.param](stack, portal, tmp_path, partial(request.getfixturevalue, "dynoxide"))


def test_each_deployment_sees_exactly_its_own_items(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant_requests, "GATEWAY_WHERE_MAX", WRITES_A_CALL)
    machine = type("Machine", (Isolation,), {"world": world, "interfaces": {}})
    run(machine, settings=settings(examples(world.examples), stateful_step_count=15))
