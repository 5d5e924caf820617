"""Files, disks and places that the store cannot use: a clear error, and not one byte changed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from ddb_mcp.core.errors import ConditionFailed
from ddb_mcp.core.keys import Key
from ddb_mcp.stores.base import NO_CONDITION, WriteCondition
from ddb_mcp.stores.local import deadline, write_queue
from ddb_mcp.stores.local import deadline as deadline_module
from ddb_mcp.stores.local import place as place_of_file
from tests.local.data import Child, Data, pk
from tests.local.files import contents, write_and_crash
from tests.support.permissions import lower_privileges, needs_permissions, permissions

if TYPE_CHECKING:
    from collections.abc import Callable

OPERATIONS: dict[str, dict[str, Any]] = {
    "info": {},
    "get": {"pk": pk("a"), "sk": "000"},
    "query": {"pk": pk("a")},
    "scan": {},
    "put": {"item": {"pk": pk("a"), "sk": "new"}},
    "delete": {"pk": pk("a"), "sk": "000"},
    "provision": {},
}


def refuses_everything(data: Data, file: Path) -> list[str]:
    """Asserts that no operation works and nothing changes; returns the messages."""
    before = contents(file.parent)
    answers = {operation: data.answer(operation, **arguments) for operation, arguments in OPERATIONS.items()}
    data.close()
    codes = {operation: answer.get("error", {}).get("code") for operation, answer in answers.items()}
    assert codes == dict.fromkeys(OPERATIONS, "misconfigured")
    assert contents(file.parent) == before
    messages = [answer["error"]["message"] for answer in answers.values()]
    assert all(str(file) in message for message in messages)
    assert all(answer["error"]["next"] for answer in answers.values())
    return messages


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder / "items.db"


@pytest.fixture
def sound(open_data: Callable[[Path], Data], tmp_path: Path) -> bytes:
    """A file of a hundred items."""
    data = open_data(tmp_path / "sound.db")
    data.put_all([{"pk": pk("a"), "sk": f"{at:03}", "text": "x" * 1000} for at in range(100)])
    data.close()
    return (tmp_path / "sound.db").read_bytes()


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("application", [0, 0x12345678])
def test_another_programs_file(data: Data, file: Path, journal: str, application: int) -> None:
    statements = [f"PRAGMA journal_mode = {journal}", f"PRAGMA application_id = {application}", "CREATE TABLE t (x)"]
    write_and_crash(file, *statements, *["INSERT INTO t VALUES (zeroblob(3000))"] * 10)
    assert all("another program's" in message for message in refuses_everything(data, file))


def test_another_programs_file_that_waits_to_be_rolled_back(data: Data, file: Path) -> None:
    write_and_crash(file, "CREATE TABLE t (x)", "INSERT INTO t VALUES (zeroblob(100000))")
    crash = ["PRAGMA cache_size = 1", "BEGIN", "UPDATE t SET x = randomblob(100000)", "PRAGMA cache_spill = 1"]
    write_and_crash(file, *crash, *["INSERT INTO t VALUES (randomblob(100000))"] * 5)
    assert Path(f"{file}-journal").stat().st_size > 0
    assert all("another program's" in message for message in refuses_everything(data, file))


@pytest.mark.parametrize("in_log", [False, True])
def test_a_newer_file(data: Data, file: Path, sound: bytes, in_log: bool) -> None:
    file.write_bytes(sound)
    if in_log:
        write_and_crash(file, "PRAGMA user_version = 4")
    else:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA user_version = 4")
    assert all("newer ddb-mcp (schema 4)" in message for message in refuses_everything(data, file))


@pytest.mark.parametrize("left", [1, 15, 16, 99, 100, 511, 512, 4095, 4096, 4097, 8192, 0.5, -4096, -1000, -1])
def test_a_truncated_file(data: Data, file: Path, sound: bytes, left: float) -> None:
    end = int(len(sound) * left) if isinstance(left, float) else left
    file.write_bytes(sound[:end])
    refuses_everything(data, file)
    file.write_bytes(sound)
    assert len(data.sort_keys()) == 100


@pytest.mark.parametrize(
    "content",
    [b"\n", b"pk,sk\n", b"\0" * 4096, b"SQLite format 3\0" + b"\xff" * 4080, bytes(range(256)) * 40],
    ids=["newline", "text", "zeros", "magic", "binary"],
)
def test_no_sqlite_file(data: Data, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    refuses_everything(data, file)


def test_a_directory(data: Data, file: Path) -> None:
    file.mkdir()
    (file / "note").write_text("keep")
    assert all("not a file" in message for message in refuses_everything(data, file))


def test_a_path_through_a_file(file: Path, open_data: Callable[[Path], Data]) -> None:
    file.write_text("keep")
    inside = file / "items.db"
    answer = open_data(inside).answer("put", item={"pk": pk("a"), "sk": "1"})
    assert answer["error"]["code"] == "misconfigured"
    assert str(inside) in answer["error"]["message"]
    assert file.read_text() == "keep"


@needs_permissions
@pytest.mark.parametrize(("part", "bits"), [("file", 0o400), ("folder", 0o500)])
def test_a_read_only_place_can_be_read_and_is_left_as_it_was(file: Path, sound: bytes, part: str, bits: int) -> None:
    file.write_bytes(sound)
    before = contents(file.parent)
    with permissions(file if part == "file" else file.parent, bits), Child(file, preexec=lower_privileges) as child:
        for operation in ("put", "delete", "provision"):
            error = child.answer(operation, **OPERATIONS[operation])["error"]
            assert error["code"] == "misconfigured"
            assert "not writable" in error["message"]
            assert str(file) in error["message"]
            assert child.answer("query", pk=pk("a"), view="count")["result"]["count"] == 100
        assert "not writable" in child.answer("info")["result"]["warnings"][0]
    assert contents(file.parent) == before
    with Child(file, preexec=lower_privileges) as child:
        assert child.answer("put", **OPERATIONS["put"])["result"]["created"] is True
        assert "warnings" not in child.answer("info")["result"]


@needs_permissions
def test_a_file_that_nobody_may_open(file: Path, sound: bytes) -> None:
    file.write_bytes(sound)
    with permissions(file, 0), Child(file, preexec=lower_privileges) as child:
        assert {child.answer(o, **arguments)["error"]["code"] for o, arguments in OPERATIONS.items()} == {
            "misconfigured"
        }


@needs_permissions
def test_a_directory_in_which_no_file_can_be_made(file: Path) -> None:
    with permissions(file.parent, 0o500), Child(file, preexec=lower_privileges) as child:
        info = child.answer("info")["result"]
        assert info["provisioned"] is False
        assert "not writable" in info["warnings"][0]
        for operation in ("provision", "put"):
            error = child.answer(operation, **OPERATIONS[operation])["error"]
            assert error["code"] == "misconfigured"
            assert "permission denied" in error["message"]


# A file system of its own, of so many bytes, that lasts as long as the command. Users may mount in a namespace.
SMALL_DISK = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
SMALL_DISK += ['mount -t tmpfs -o size="$0" none "$1" && shift && exec "$@"']


def small_disk(size: str, folder: Path) -> list[str]:
    probe = [*SMALL_DISK, size, str(folder), "true"]
    if not shutil.which("unshare") or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    return probe[:-1]


@pytest.mark.parametrize("size", ["16k", "40k", "44k", "64k"])
def test_a_disk_too_small_for_the_file(file: Path, size: str) -> None:
    with Child(file, command=small_disk(size, file.parent)) as child:
        error = child.answer("put", item={"pk": pk("a"), "sk": "1", "text": "x" * 50_000})["error"]
        assert (error["code"], error["retryable"]) == ("unavailable", True)
        assert "full" in error["message"]


def test_a_disk_that_fills_up_loses_nothing(file: Path) -> None:
    with Child(file, command=small_disk("1m", file.parent)) as child:
        folder = Path(f"/proc/{child.process.pid}/root") / file.parent.relative_to("/")  # as the child sees it
        filler = folder / "filler"
        assert child.answer("provision")["result"]["created"] is True
        filler.write_bytes(b"x" * 500_000)
        acknowledged = []
        for at in range(1000):
            answer = child.answer("put", item={"pk": pk("a"), "sk": f"{at:03}", "text": "x" * 3000})
            if "error" in answer:
                break
            acknowledged.append(f"{at:03}")
        assert acknowledged
        assert answer["error"]["code"] == "unavailable"
        assert "full" in answer["error"]["message"]

        def stored() -> list[str]:
            return [item["sk"] for item in child.answer("query", pk=pk("a"), limit=1000)["result"]["items"]]

        assert stored() == acknowledged
        # Longer than what the refused write has left room for in the log.
        error = child.answer("put", item={"pk": pk("a"), "sk": "000", "text": "y" * 30_000})["error"]
        assert error["code"] == "unavailable"
        assert stored() == acknowledged
        filler.unlink()
        assert child.answer("put", item={"pk": pk("a"), "sk": "zzz"})["result"]["created"] is True
        assert stored() == [*acknowledged, "zzz"]


def test_a_file_locked_for_long(data: Data, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline_module, "LOCK_SECONDS", 0.2)
    data.put("1")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for operation in ("put", "delete"):
            error = data.answer(operation, **OPERATIONS[operation])["error"]
            assert (error["code"], error["retryable"]) == ("unavailable", True)
            assert "locked by another process" in error["message"]
        assert data.sort_keys() == ["1"]
        other.execute("ROLLBACK")
    data.put("2")
    assert data.sort_keys() == ["1", "2"]


def test_a_batch_on_a_locked_file_ends(data: Data, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.put("1")
    monkeypatch.setattr(deadline_module, "LOCK_SECONDS", 0.2)
    monkeypatch.setattr(write_queue, "SWEEP_SECONDS", 0)  # a sweep is another write, and waits for the lock as well
    batch = [{"pk": pk("a"), "sk": str(at)} for at in range(100)]

    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        result = data.call("put", items=batch)
    assert result["written"] == 0
    assert {failure["error"]["code"] for failure in result["failed"]} == {"unavailable"}
    assert len(result["failed"]) == 100


def test_writes_that_are_refused_had_their_turn(data: Data, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that is never empty and in which no write succeeds still waits for the short locks of others."""
    data.put("1")
    item = {"pk": {"S": pk("a")}, "sk": {"S": "1"}}
    now, turns, locks, turned = 0.0, [0] * 4, 10, anyio.Event()
    monkeypatch.setattr(deadline, "time", SimpleNamespace(monotonic=lambda: now, sleep=time.sleep))

    async def refused(number: int) -> None:
        while locks:
            with pytest.raises(ConditionFailed):
                await data.store.put(item, WriteCondition(create_only=True))
            turns[number] += 1
            turned.set()

    async def refused_and_refused() -> None:
        nonlocal now, locks, turned
        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(refused, number)
            with closing(sqlite3.connect(file, isolation_level=None)) as other:
                while locks:
                    other.execute("BEGIN IMMEDIATE")
                    await anyio.sleep(0.02)
                    now += deadline_module.LOCK_SECONDS / 2  # by the clock of the writes
                    other.execute("ROLLBACK")
                    before = list(turns)
                    while any(had < once + 2 for had, once in zip(turns, before, strict=True)):
                        turned = anyio.Event()
                        await turned.wait()
                    locks -= 1

    anyio.run(refused_and_refused)


def test_reads_go_on_while_any_number_of_writes_wait(data: Data, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.put("1")
    monkeypatch.setattr(deadline_module, "LOCK_SECONDS", 1000)

    async def put_and_get() -> None:
        key = Key(pk("a"), "1")
        async with anyio.create_task_group() as group:
            for at in range(100):
                group.start_soon(data.store.put, {"pk": {"S": pk("a")}, "sk": {"S": str(at)}}, NO_CONDITION)
            await anyio.wait_all_tasks_blocked()
            for _ in range(50):
                assert await data.store.get(key)  # or, where no thread is left, Unavailable from a put
            other.execute("ROLLBACK")

    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        anyio.run(put_and_get)
    assert len(data.sort_keys()) == 100


def test_a_write_called_off_while_it_waits_writes_nothing(data: Data, file: Path) -> None:
    data.put("1")

    async def put_both() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(data.service.run_operation, "put", {"item": {"pk": pk("a"), "sk": "2"}})
            await anyio.wait_all_tasks_blocked()
            with anyio.move_on_after(0.1):
                await data.service.run_operation("put", {"item": {"pk": pk("a"), "sk": "called off"}})
            other.execute("ROLLBACK")

    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        anyio.run(put_both)
    assert data.sort_keys() == ["1", "2"]


def test_a_lock_that_ends_in_time_is_waited_for(data: Data, file: Path) -> None:
    data.put("1")
    with closing(sqlite3.connect(file, isolation_level=None)) as other, ThreadPoolExecutor() as executor:
        other.execute("BEGIN IMMEDIATE")
        waiting = executor.submit(data.put, "2")
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
        other.execute("ROLLBACK")
        waiting.result(300)
    assert data.sort_keys() == ["1", "2"]


# What /proc/self/mountinfo says, made up: no share can be mounted in a test.
MOUNTS = """\
22 27 0:21 / /sys rw,relatime - sysfs sysfs rw
27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
28 27 0:30 / {home} rw shared:7 master:1 - nfs4 server:/home rw
29 28 8:17 / {home}/fast rw - ext4 /dev/sdb1 rw
30 28 0:31 /sub {home}/with\\040space\\134and\\011more rw - cifs //server/share rw
31 29 0:32 / {home}/fast/ssh rw - fuse.sshfs user@server:/ rw
32 29 0:33 / {home}/fast/vm rw - {kind} host rw
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("home", "nfs4"),
        ("home/with space\\and\tmore", "cifs"),
        ("home/with", "nfs4"),
        ("home/fast", None),
        ("home/faster", "nfs4"),
        ("home/fast/ssh", "fuse.sshfs"),
        ("home/fast/link", "nfs4"),
        ("homes", None),
        *[("home/fast/vm", kind) for kind in ("virtiofs", "fuse.grpcfuse", "grpcfuse", "vboxsf", "prl_fs", "9p")],
    ],
)
def test_network_file_systems(
    tmp_path: Path, open_data: Callable[[Path], Data], monkeypatch: pytest.MonkeyPatch, place: str, kind: str | None
) -> None:
    (tmp_path / "home/fast").mkdir(parents=True)
    (tmp_path / "home/fast/link").symlink_to(tmp_path / "home")
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS.format(home=tmp_path / "home", kind=kind))
    monkeypatch.setattr(place_of_file, "_MOUNTS", mounts)
    file = tmp_path / place / "sub" / "items.db"
    answer = open_data(file).answer("provision")
    if kind is None:
        assert answer["result"]["created"] is True
    else:
        assert answer["error"]["code"] == "misconfigured"
        assert f"network file system ({kind})" in answer["error"]["message"]
        assert not file.parent.exists()


def test_an_existing_file_on_a_network_file_system(
    tmp_path: Path, data: Data, file: Path, sound: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(sound)
    (tmp_path / "mounts").write_text(f"28 27 0:30 / {tmp_path} rw - nfs server:/ rw\n")
    monkeypatch.setattr(place_of_file, "_MOUNTS", tmp_path / "mounts")
    assert all("network file system (nfs)" in message for message in refuses_everything(data, file))


def test_a_windows_share(monkeypatch: pytest.MonkeyPatch) -> None:
    share = Path(r"\\server\share\items.db")
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        problem = place_of_file.find_mount_problem(share)
    assert problem is not None
    assert "network file system (smb)" in problem[0]
