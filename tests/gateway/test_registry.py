"""The registry of deployments over a real store: tokens, changes at once, and prefixes that two want at once."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from anyio.lowlevel import checkpoint

from ddb_mcp.core.errors import DdbMcpError, InvalidArgument, Misconfigured, Unavailable
from ddb_mcp.core.items import item_to_json, parse_item
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.gateway import prefix_claims
from ddb_mcp.gateway import registry as registry_module
from ddb_mcp.gateway.registry import Registry
from ddb_mcp.gateway.removal import remove_deployment
from ddb_mcp.gateway.tenant_requests import Admission
from ddb_mcp.gateway.tokens import TokenParts, format_token, generate_token, parse_token
from ddb_mcp.stores.base import NO_CONDITION
from ddb_mcp.stores.local.store import LocalStore
from tests.gateway.running import silent, with_registry

_T = TypeVar("_T")


class Clock:
    """Seconds since 1970, as a test wants them."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Callable[[Registry], Awaitable[_T]]], _T]:
    """Does something with the registry in a file of this test's own."""

    def run(act: Callable[[Registry], Awaitable[_T]]) -> _T:
        async def prepared(registry: Registry) -> _T:
            await registry.create_if_missing(silent)
            return await act(registry)

        return with_registry(lambda: LocalStore(tmp_path / "registry.sqlite3", "t"), prepared)

    return run


Run = Callable[[Callable[[Registry], Awaitable[Any]]], Any]


def test_what_a_token_says_is_read_only_where_this_registry_wrote_it() -> None:
    for name in ("alpha", "a_b", "a_0123abcd", "x" * 63, "a.b-c_d"):
        parts = generate_token(name)
        text = format_token(parts, b"key")
        assert parse_token(text, b"key") == parts
        assert parse_token(text, b"other key") is None
        forged = format_token(TokenParts("other", parts.id, parts.secret), b"key").rpartition("_")[0]
        for wrong in (text[:-1], text + "0", text.upper(), f"{forged}_{text[-16:]}", text.replace("_", "-"), ""):
            assert parse_token(wrong, b"key") is None, wrong


def test_tokens_open_their_own_deployment_until_they_are_rotated(run: Run) -> None:
    async def act(registry: Registry) -> None:
        alpha = await registry.add("alpha", Prefix("deploy#alpha"))
        beta = await registry.add("beta", Prefix("deploy#beta"), requests_per_second=5, functions=("one", "two"))
        found = await registry.authenticate(beta)
        assert found
        assert (found.tenant.name, found.tenant.prefix.text, found.read_only) == ("beta", "deploy#beta", False)
        assert (found.tenant.requests_per_second, found.tenant.functions) == (5, ("one", "two"))
        reading = await registry.add_token("alpha", read_only=True)
        access = await registry.authenticate(reading)
        assert access
        assert access.read_only
        renewed = await registry.rotate("alpha")
        assert await registry.authenticate(alpha) is await registry.authenticate(reading) is None
        assert await registry.authenticate(renewed)
        with pytest.raises(InvalidArgument, match="no deployment"):
            await registry.rotate("gamma")
        await registry.revoke_token("alpha", renewed.split("_")[2])
        assert await registry.authenticate(renewed) is None
        with pytest.raises(InvalidArgument, match="no token"):
            await registry.revoke_token("alpha", renewed.split("_")[2])

    run(act)


def test_a_made_up_token_costs_no_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(registry: Registry) -> None:
        token = await registry.add("alpha", Prefix("deploy#alpha"))
        reads: list[Key] = []
        get = LocalStore.get

        async def counted(self: LocalStore, key: Key) -> Any:
            reads.append(key)
            return await get(self, key)

        monkeypatch.setattr(LocalStore, "get", counted)
        assert await registry.authenticate(token)
        assert len(reads) == 1
        for wrong in (
            token[:-1] + ("0" if token[-1] != "0" else "1"),
            "x",
            format_token(generate_token("alpha"), b"guess"),
        ):
            assert await registry.authenticate(wrong) is None
        assert len(reads) == 1

    run(act)


def test_a_deployment_has_at_most_so_many_tokens(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "TOKENS_MAX", 3)

    async def act(registry: Registry) -> None:
        tokens = [await registry.add("alpha", Prefix("deploy#alpha"))]
        tokens += [await registry.add_token("alpha", read_only=False) for _ in range(2)]
        with pytest.raises(InvalidArgument, match="maximum"):
            await registry.add_token("alpha", read_only=False)
        assert all([await registry.authenticate(token) for token in tokens])

    run(act)


def test_no_change_is_lost_among_many_at_once(run: Run) -> None:
    async def act(registry: Registry) -> None:
        tokens = [await registry.add("alpha", Prefix("deploy#alpha"))]

        async def add() -> None:
            tokens.append(await registry.add_token("alpha", read_only=False))

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(add)
        assert all([await registry.authenticate(token) for token in tokens])
        assert (await registry.get("alpha")).revision == 9

    run(act)


@pytest.mark.parametrize("prefix", ["deploy#alpha", "deploy#alpha#x", "deploy#alpha#", "deploy#alpha#x_"])
def test_nested_prefixes_are_refused(run: Run, prefix: str) -> None:
    async def act(registry: Registry) -> None:
        await registry.add("alpha", Prefix("deploy#alpha"))
        with pytest.raises(InvalidArgument, match="overlaps"):
            await registry.add("beta", Prefix(prefix))
        assert [tenant.name for tenant in await registry.list()] == ["alpha"]

    run(act)


def test_look_alikes_are_no_overlap(run: Run) -> None:
    async def act(registry: Registry) -> None:
        for at, prefix in enumerate(["deploy#alpha", "deploy#alpha2", "deploy#alph", "Deploy#alpha", "deploy_alpha_"]):
            await registry.add(f"d{at}", Prefix(prefix))
        assert len(await registry.list()) == 5

    run(act)


@pytest.mark.parametrize("name", ["", "a b", "-x", "../x", "x" * 64, "é", "a\n"])
def test_names(run: Run, name: str) -> None:
    async def act(registry: Registry) -> None:
        with pytest.raises(InvalidArgument):
            await registry.add(name, Prefix("deploy#x"))

    run(act)


def test_before_init_there_is_nothing_and_it_says_so(tmp_path: Path) -> None:
    async def act(registry: Registry) -> None:
        with pytest.raises(Misconfigured, match="no registry"):
            await registry.list()
        with pytest.raises(Misconfigured, match="no registry"):
            await registry.authenticate("x")

    with_registry(lambda: LocalStore(tmp_path / "registry.sqlite3", "t"), act)
    assert not (tmp_path / "registry.sqlite3").exists()


def test_a_newer_registry_is_not_read(run: Run) -> None:
    async def act(registry: Registry) -> None:
        facts = await registry.store.get(Key("registry", "facts"))
        assert facts
        await registry.store.put({**facts, "version": {"N": "2"}}, NO_CONDITION)
        with pytest.raises(Misconfigured, match="version 2"):
            await Registry(registry.store).list()

    run(act)


class Turns:
    """Lets several tasks do one step each in an order that is told: whoever has no turn waits before its step."""

    def __init__(self, order: tuple[int, ...]) -> None:
        self._order = list(order)
        self._done: set[int] = set()

    async def before_step(self, who: int) -> None:
        while next((turn for turn in self._order if turn not in self._done), who) != who:
            await checkpoint()
        if who in self._order:
            self._order.remove(who)

    def done(self, who: int) -> None:
        self._done.add(who)


class Stepped(LocalStore):
    """A store whose calls wait for their turn."""

    def __init__(self, path: Path, turns: Turns, who: int) -> None:
        super().__init__(path, "t")
        self._turns, self._who = turns, who

    async def get(self, *given: Any, room: int | None = None) -> Any:
        await self._turns.before_step(self._who)
        return await super().get(*given)

    async def put(self, *given: Any, room: int | None = None) -> Any:
        await self._turns.before_step(self._who)
        return await super().put(*given)

    async def delete(self, *given: Any, room: int | None = None) -> Any:
        await self._turns.before_step(self._who)
        return await super().delete(*given)

    async def query(self, *given: Any, room: int | None = None) -> Any:
        await self._turns.before_step(self._who)
        return await super().query(*given)


def _orders() -> list[tuple[int, ...]]:
    """Two tasks of some ten steps: the first begins, the second does some steps, the first goes on."""
    runs = (1, 2, 3, 4, 5, 7)
    return [(0,) * first + (1,) * second + (0,) * 12 + (1,) * 12 for first, second in itertools.product(runs, runs)]


@pytest.mark.parametrize(("second", "skew"), [("deploy#a", 0), ("deploy#a#b", -30), ("deploy#a#b", 30)])
def test_of_two_that_want_overlapping_prefixes_at_once_exactly_one_wins(
    tmp_path: Path, second: str, skew: float
) -> None:
    """Whatever the order of their steps, and whichever clock is ahead."""
    wanted = [Prefix("deploy#a"), Prefix(second)]

    async def attempt(path: Path, order: tuple[int, ...]) -> None:
        turns = Turns(order)
        outcomes: dict[int, str | DdbMcpError] = {}

        async def add(who: int) -> None:
            clock = Clock()
            clock.now += skew * who
            registry = Registry(Stepped(path, turns, who), clock)
            try:
                outcomes[who] = await registry.add(f"d{who}", wanted[who])
            except InvalidArgument as refused:
                outcomes[who] = refused
            finally:
                turns.done(who)
            await registry.close()

        async with anyio.create_task_group() as group:
            group.start_soon(add, 0)
            group.start_soon(add, 1)
        registry = Registry(LocalStore(path, "t"), Clock())
        listed = await registry.list()
        assert [tenant.state for tenant in listed] == ["active"], (order, outcomes)
        winner = int(listed[0].name[1:])
        token = outcomes[winner]
        assert isinstance(token, str)
        assert await registry.authenticate(token)
        assert isinstance(outcomes[1 - winner], InvalidArgument)
        await remove_deployment(registry, registry.store, listed[0].name, silent, clock=Clock(), sleep=Clock().sleep)
        await registry.close()

    async def attempts() -> None:
        path = tmp_path / "registry.sqlite3"
        registry = Registry(LocalStore(path, "t"))
        await registry.create_if_missing(silent)
        await registry.close()
        for order in _orders():
            await attempt(path, order)

    anyio.run(attempts)


class Dies(LocalStore):
    """A store whose process ends before the step with this number."""

    steps = 0

    def __init__(self, path: Path, last: int) -> None:
        super().__init__(path, "t")
        self._last = last

    def step(self) -> None:
        self.steps += 1
        if self.steps > self._last:
            raise KeyboardInterrupt

    async def put(self, *given: Any, room: int | None = None) -> Any:
        self.step()
        return await super().put(*given)

    async def delete(self, *given: Any, room: int | None = None) -> Any:
        self.step()
        return await super().delete(*given)


def test_an_add_that_dies_at_any_step_leaves_nothing_that_remove_and_a_minute_do_not_mend(tmp_path: Path) -> None:
    async def attempt(path: Path, last: int) -> bool:
        clock = Clock()
        registry = Registry(LocalStore(path, "t"), clock)
        await registry.create_if_missing(silent)
        died = False
        dying = Registry(Dies(path, last), clock)
        try:
            await dying.add("alpha", Prefix("deploy#alpha"))
        except KeyboardInterrupt:
            died = True
        await dying.close()
        items = LocalStore(tmp_path / f"items-{last}.sqlite3", "t")
        await items.put({"pk": {"S": "deploy#alpha#x"}, "sk": {"S": "1"}}, NO_CONDITION)
        listed = await registry.list()
        for tenant in listed:
            removed = await remove_deployment(registry, items, tenant.name, silent, clock=clock, sleep=clock.sleep)
            assert removed == (tenant.state == "active")  # where it was never served, the data are not its own
        clock.now += prefix_claims.CLAIM_SECONDS + 1
        assert await registry.add("beta", Prefix("deploy#alpha#x"))
        await items.close()
        await registry.close()
        return died

    async def attempts() -> None:
        assert [await attempt(tmp_path / f"r-{last}.sqlite3", last) for last in range(4)] == [True] * 3 + [False]

    anyio.run(attempts)


@pytest.mark.parametrize("prefix", ["deploy#alpha", "deploy#alpha#x"])
def test_an_interrupted_add_holds_its_prefix_for_a_minute(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "registry.sqlite3"

    async def act() -> None:
        clock = Clock()
        registry, dying = Registry(LocalStore(path, "t"), clock), Registry(Dies(path, 2), clock)
        await registry.create_if_missing(silent)
        with pytest.raises(KeyboardInterrupt):
            await dying.add("alpha", Prefix("deploy#alpha"))
        clock.now += 1
        with pytest.raises(InvalidArgument, match="overlaps"):
            await registry.add("beta", Prefix(prefix))
        assert [tenant.name for tenant in await registry.list()] == ["alpha"]
        clock.now += prefix_claims.CLAIM_SECONDS
        await registry.add("beta", Prefix(prefix))
        assert [(tenant.name, tenant.state) for tenant in await registry.list()] == [("beta", "active")]
        await dying.close()
        await registry.close()

    anyio.run(act)


@pytest.mark.parametrize(
    "damage",
    [
        {"tokens": None},
        {"tokens": {"a": {"hash": "x"}}},
        {"tokens": {"a": {"hash": 5, "read_only": False, "created": 1}}},
        {"prefix": ""},
        {"functions": 5},
        {"requests_per_second": "many"},
    ],
    ids=str,
)
def test_a_damaged_record_is_the_operators_to_mend(run: Run, damage: dict[str, Any]) -> None:
    async def act(registry: Registry) -> None:
        token = await registry.add("alpha", Prefix("deploy#alpha"))
        (record,) = [tenant.to_record() for tenant in await registry.list()]
        await registry.store.put(parse_item({**record, **damage}), NO_CONDITION)
        for call in (registry.authenticate(token), registry.list(), registry.get("alpha"), registry.rotate("alpha")):
            with pytest.raises(Misconfigured, match=r"damaged record: .*alpha"):
                await call
        with pytest.raises(Unavailable) as caught:  # what the tenant sees
            await Admission(registry, registry.store).authenticate(token)
        assert "alpha" not in f"{caught.value.message} {caught.value.next}"

    run(act)


def test_a_record_of_a_newer_version_is_served_and_left_alone(run: Run) -> None:
    async def act(registry: Registry) -> None:
        token = await registry.add("alpha", Prefix("deploy#alpha"))
        (record,) = [tenant.to_record() for tenant in await registry.list()]
        await registry.store.put(parse_item({**record, "quota": {"bytes": 5}}), NO_CONDITION)
        access = await registry.authenticate(token)
        assert access is not None
        assert (access.tenant.name, access.tenant.unknown) == ("alpha", ("quota",))
        for change in (registry.update("alpha", items_per_second=1), registry.rotate("alpha")):
            with pytest.raises(Misconfigured, match=r"record of alpha was written by a newer ddb-mcp"):
                await change
        stored = await registry.store.get(Key("deployment#alpha", "deployment"))
        assert stored is not None
        assert item_to_json(stored)["quota"] == {"bytes": 5}

    run(act)


@pytest.mark.parametrize(
    "damage", [{"version": 2}, {"version": 1, "secret": "x"}, {"version": 1, "secret": 5}, {"version": 1}, {}], ids=str
)
def test_damaged_facts_are_the_operators_to_mend(run: Run, damage: dict[str, Any]) -> None:
    async def act(registry: Registry) -> None:
        await registry.store.put(parse_item({"pk": "registry", "sk": "facts", **damage}), NO_CONDITION)
        with pytest.raises(Misconfigured):
            await registry.get_keys()

    run(act)
