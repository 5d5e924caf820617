"""Measures the rows and prints them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial

from benchmarks.hostile import attacks
from benchmarks.hostile.attacks import ATTACKERS, CALLS, Attack, Target, over_api, over_mcp, posting
from benchmarks.hostile.targets import (
    LARGE,
    LARGE_KEY,
    SMALL_KEY,
    Place,
    Quiet,
    Server,
    filled,
    most_memory,
    processor_seconds,
)

Prepare = Callable[[Target], Attack]
ATTACK_SECONDS = 120
"""An attacker ends by itself after this time, should this process be killed."""
SMALL_MS, LARGE_MS, MEGABYTES, BUSY = 500, 2000, 400, 0.03


@dataclass
class Waits:
    """How long a quiet client waited for each call, in milliseconds, and how many were not answered."""

    times: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def worst(self) -> float:
        return max(self.times, default=0)

    @property
    def p99(self) -> float:
        return sorted(self.times)[int(0.99 * (len(self.times) - 1))]


@dataclass(frozen=True)
class Measured:
    """What a row was like. `busy`: the share of a processor from 2 s after the end."""

    small: Waits
    large: Waits
    memory: float
    busy: float


@dataclass(frozen=True)
class Section:
    """Rows on one kind of server.

    Attributes:
        hostile: how many times the waits and memory of one hostile client are allowed.
    """

    name: str
    serve: Callable[[Place], AbstractContextManager[Server]]
    rows: dict[str, Prepare]
    hostile: int = 1


def _calls(encode: Callable[[attacks.Call, attacks.Tenant], bytes], names: str = "") -> dict[str, Prepare]:
    """Every call of a tool, or those whose name has one of these beginnings."""

    def row(name: str) -> Prepare:
        return posting(lambda tenant: [encode(call, tenant) for call in CALLS[name](tenant.prefix)])

    return {name: row(name) for name in CALLS if name.startswith(tuple(names.split()) or "")}


_SLOW = {name: prepare for name, prepare in attacks.TENANT.items() if name.startswith(("300", "600"))}
_TENANT_ROWS = _calls(over_api) | {f"mcp, {name}": row for name, row in _calls(over_mcp, "hint items").items()}
SECTIONS = [
    Section("one tenant", partial(Place.gateway, tenants=1), _TENANT_ROWS | attacks.MESSAGES | attacks.TENANT),
    Section("two tenants", partial(Place.gateway, tenants=2), _TENANT_ROWS | attacks.MESSAGES | attacks.TENANT, 2),
    Section("three tenants", partial(Place.gateway, tenants=3), _SLOW, 2),
    Section("no token", partial(Place.gateway, tenants=0), attacks.NOBODY),
    Section("no token, TLS", Place.gateway_with_tls, attacks.HANDSHAKES),
    Section("--http", Place.http, _calls(over_mcp) | attacks.MESSAGES | attacks.NOBODY),
    Section("endpoint", Place.endpoint, attacks.ENDPOINT),
    Section("stdio", Place.stdio, _calls(over_mcp)),
]


def _ask(quiet: Quiet, large: bool, waits: Waits, until: float) -> None:
    """Call again and again."""
    calls: list[attacks.Call] = [("get", SMALL_KEY)] if not large else [("put", {"item": LARGE}), ("get", LARGE_KEY)]
    while time.monotonic() < until:
        for call in calls:
            began = time.perf_counter()
            waits.failed += not quiet.call(call)
            waits.times.append((time.perf_counter() - began) * 1000)
        time.sleep(0.1 if large else 0.02)


def _ask_all(server: Server, seconds: float) -> tuple[Waits, Waits]:
    """The waits for a small call, and for calls with 390 KB, of two quiet clients."""
    small, large, until = Waits(), Waits(), time.monotonic() + seconds
    threads = [
        threading.Thread(target=_ask, args=(server.quiet(), is_large, waits, until))
        for is_large, waits in ((False, small), (True, large))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return small, large


@contextlib.contextmanager
def _attacked(attack: Attack, target: Target) -> Iterator[None]:
    """While this is open, processes of their own attack.

    They leave the processor to the server where it wants it, as clients on other machines would.
    """

    def run(number: int) -> None:
        os.nice(10)
        signal.alarm(ATTACK_SECONDS)
        attack(target, number)

    context = multiprocessing.get_context("fork")
    attackers = [context.Process(target=run, args=(number,), daemon=True) for number in range(ATTACKERS)]
    for attacker in attackers:
        attacker.start()
    try:
        yield
    finally:
        for attacker in attackers:
            attacker.kill()
            attacker.join()


@contextlib.contextmanager
def _same_client(server: Server, name: str) -> Iterator[None]:
    """While this is open, the client of a server over stdio has a call of this row under way, and a second one."""
    assert server.stdio
    client, ended = server.stdio, threading.Event()
    calls = CALLS[name](server.target.tenants[0].prefix)

    def attack() -> None:
        while not ended.is_set():
            for call in calls:
                client.call(call)

    for _ in range(2):
        threading.Thread(target=attack, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def measure(place: Place, section: Section, name: str, prepare: Prepare | None, seconds: float) -> Measured:
    """One row, with a server of its own."""
    with place.copied() as own, section.serve(own) as server:
        quiet = server.quiet()
        assert quiet.call(("get", SMALL_KEY))
        assert quiet.call(("put", {"item": LARGE}))
        attacking: AbstractContextManager[None] = contextlib.nullcontext()
        if prepare and server.stdio:
            attacking = _same_client(server, name)
        elif prepare:
            attacking = _attacked(prepare(server.target), server.target)
        with attacking:
            time.sleep(0.5)
            small, large = _ask_all(server, seconds)
        time.sleep(2)
        before = processor_seconds(server.pid)
        time.sleep(0.5)
        return Measured(small, large, most_memory(server.pid), (processor_seconds(server.pid) - before) / 0.5)


def _line(measured: Measured, unloaded: Measured, times: int) -> str:
    small, large = measured.small, measured.large
    misses = {
        "small": small.worst > SMALL_MS * times,
        "390 KB": large.worst > LARGE_MS * times,
        "memory": measured.memory > MEGABYTES * times,
        "after": measured.busy > BUSY,
        "failed": small.failed + large.failed > 0,
    }
    pairs = ((small, unloaded.small), (large, unloaded.large))
    waits = "".join(f"{mine.worst:9.0f}{mine.worst / usual.p99:7.1f}" for mine, usual in pairs)
    missed = ", ".join(name for name, is_missed in misses.items() if is_missed)
    rest = f"{measured.memory:7.0f}{measured.busy:7.0%}{small.failed + large.failed:7}"
    return waits + rest + (f"  MISSED: {missed}" if missed else "")


def _section(place: Place, section: Section, seconds: float, part: str) -> None:
    rows = {name: prepare for name, prepare in section.rows.items() if part in name}
    if not rows:
        return
    times = section.hostile
    print(f"\n{section.name:40}{'small':>9}{'×':>7}{'390 KB':>9}{'×':>7}{'MB':>7}{'after':>7}{'failed':>7}")
    print(f"{'  target':40}{SMALL_MS * times:9}{'':7}{LARGE_MS * times:9}{'':7}{MEGABYTES * times:7}{0:7.0%}{0:7}")
    unloaded = measure(place, section, "", None, seconds)
    print(f"{'  unloaded':40}{_line(unloaded, unloaded, times)}")
    for name, prepare in rows.items():
        try:
            line = _line(measure(place, section, name, prepare, seconds), unloaded, times)
        except (OSError, AssertionError) as error:
            line = f"  MISSED: the server ended ({type(error).__name__})"
        print(f"  {name:38}{line}", flush=True)


def main(seconds: float = 3, part: str = "", only: str = "") -> None:
    """Print the table.

    Args:
        part: of the names of rows.
        only: the name of a section.
    """
    sections = [section for section in SECTIONS if only in ("", section.name)]
    print(f"worst waits in ms, and as × the unloaded 99th percentile; load average {os.getloadavg()[0]:.1f}")
    with filled(max(section.hostile for section in sections)) as place:
        for section in sections:
            _section(place, section, seconds, part)
