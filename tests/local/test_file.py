"""The file: made on first use, for its owner alone, durable, in DynamoDB's order, shared by processes."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ddb_mcp.stores.local.file import SqliteFile
from tests.local.data import Child, Data, pk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READS: dict[str, dict[str, Any]] = {
    "info": {},
    "get": {"pk": pk("a"), "sk": "1"},
    "query": {"pk": pk("a")},
    "scan": {"view": "summary"},
}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("operation", READS)
def test_reads_do_not_make_the_file(data: Data, file: Path, operation: str) -> None:
    data.call(operation, **READS[operation])
    assert not file.parent.exists()
    assert data.call("info")["provisioned"] is False


def test_provision_makes_it_once(data: Data, file: Path) -> None:
    assert [data.call("provision")["created"] for _ in range(2)] == [True, False]
    assert file.exists()
    assert data.call("info")["provisioned"] is True


def test_the_first_write_makes_it_too(data: Data, file: Path) -> None:
    data.put("1")
    assert file.exists()
    assert data.call("provision")["created"] is False


def test_only_its_owner_can_read_it(data: Data, file: Path) -> None:
    umask = os.umask(0)
    try:
        data.put("1")
    finally:
        os.umask(umask)
    made = sorted(file.parent.iterdir())
    assert [path.name for path in made] == [file.name, f"{file.name}-shm", f"{file.name}-wal"]
    assert [mode(path) for path in made] == [0o600] * 3
    assert mode(file.parent) == 0o700


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine can enter."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_a_folder_is_no_file_to_be_closed_to_others(open_folder: Path) -> None:
    file = SqliteFile(open_folder, application_id=1, schema=[])
    assert file.warnings() == []


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
@pytest.mark.parametrize(("bits", "exposed"), [(0o600, False), (0o666, True), (0o640, True), (0o622, True)])
def test_a_file_that_others_may_open_is_warned_of(
    open_data: Callable[[Path], Data], open_folder: Path, caplog: pytest.LogCaptureFixture, bits: int, exposed: bool
) -> None:
    """At the start, and in info. Who made it so may have wanted it: the mode stays."""
    file = open_folder / "items.sqlite3"
    made = open_data(file)
    made.put("1")
    made.close()
    assert "Other users" not in caplog.text
    file.chmod(bits)
    data = open_data(file)
    assert ("Other users" in caplog.text) is exposed
    assert any("chmod 600" in warning for warning in data.call("info").get("warnings", [])) is exposed
    data.put("2")
    assert mode(file) == bits
    open_folder.chmod(0o700)
    assert "warnings" not in data.call("info")


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
@pytest.mark.parametrize(
    ("bits", "folder", "warned"),
    [
        (0o755, "", False),
        (0o775, "", False),
        (0o777, "", True),
        (0o1777, "", True),  # anyone may put a log beside the file
        (0o777, "sub", True),
        (0o1777, "sub", False),
        (0o777, "sub/missing", False),  # it will be made for this user alone
    ],
)
def test_a_folder_in_which_anyone_may_replace_the_file_is_warned_of(
    open_data: Callable[[Path], Data], open_folder: Path, bits: int, folder: str, warned: bool
) -> None:
    (open_folder / "sub").mkdir(mode=0o755)
    open_folder.chmod(bits)
    data = open_data(open_folder / folder / "items.sqlite3")
    warnings = data.call("info").get("warnings", [])
    assert any(f"chmod o-w {open_folder}" in warning for warning in warnings) is warned
    data.put("1")
    assert data.call("info").get("warnings", []) == warnings
    open_folder.chmod(0o700)


def test_a_directory_that_is_there_keeps_its_mode(data: Data, file: Path) -> None:
    file.parent.mkdir()
    file.parent.chmod(0o755)
    data.put("1")
    assert mode(file.parent) == 0o755


def test_an_empty_file_is_as_good_as_none(data: Data, file: Path) -> None:
    file.parent.mkdir()
    file.touch()
    assert data.call("info")["provisioned"] is False
    assert data.call("provision")["created"] is True


def test_the_file_says_what_it_is(data: Data, file: Path) -> None:
    data.put("1")
    data.close()
    with closing(sqlite3.connect(file)) as connection:
        found = [connection.execute(f"PRAGMA {n}").fetchone()[0] for n in ("application_id", "user_version")]
        assert found == [int.from_bytes(b"ddmc"), 3]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_closed_it_is_one_file_that_can_be_copied(
    data: Data, file: Path, tmp_path: Path, open_data: Callable[[Path], Data]
) -> None:
    data.put("1")
    data.close()
    assert list(file.parent.iterdir()) == [file]
    copy = file.rename(tmp_path / "copy")
    assert open_data(copy).sort_keys() == ["1"]


def test_a_backup_made_while_a_server_runs_holds_what_is_in_the_log(
    data: Data, file: Path, tmp_path: Path, open_data: Callable[[Path], Data]
) -> None:
    """As `sqlite3 FILE ".backup COPY"` makes it."""
    data.put("1")
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        source.backup(copy)
    data.put("2")
    assert open_data(tmp_path / "copy.db").sort_keys() == ["1"]


# By UTF-8 bytes; UTF-16, which other languages compare, has U+10000 and what follows before U+E000.
IN_ORDER = ["\x01", "A", "a", "a\x01", "a#", "a#1", "a#10", "a#2", "aa", "\x7f", "\x80", "é", "߿", "ࠀ", "\ud7ff"]
IN_ORDER += ["\ue000", "\uf8ff", "\uffee", "\uffff", "𐀀", "𝄞", "😀", "\U0010ffff"]


def test_order_is_that_of_utf8_bytes(data: Data) -> None:
    assert sorted(IN_ORDER, key=str.encode) == IN_ORDER
    assert sorted(IN_ORDER, key=lambda text: text.encode("utf-16-be")) != IN_ORDER
    shuffled = random.Random(1).sample(IN_ORDER, len(IN_ORDER))
    data.put_all([{"pk": pk("a"), "sk": text} for text in shuffled])
    data.put_all([{"pk": pk(text), "sk": "1"} for text in shuffled if text != "a"])
    assert [item["sk"] for item in data.call("query", pk=pk("a"))["items"]] == IN_ORDER
    assert [item["sk"] for item in data.call("query", pk=pk("a"), descending=True)["items"]] == IN_ORDER[::-1]
    found = [item["pk"] for item in data.call("scan", filter={"sk": "1"})["items"]]
    assert found == [pk(text) for text in IN_ORDER if text != "a"]
    for low in range(0, len(IN_ORDER), 3):
        for high in range(low, len(IN_ORDER), 4):
            page = data.call("query", pk=pk("a"), sk_from=IN_ORDER[low], sk_to=IN_ORDER[high])
            assert [item["sk"] for item in page["items"]] == IN_ORDER[low : high + 1]


@pytest.mark.parametrize("prefix", [*IN_ORDER, "a#1"])
def test_a_prefix_finds_what_starts_with_it(data: Data, prefix: str) -> None:
    data.put_all([{"pk": pk("a"), "sk": text} for text in IN_ORDER])
    page = data.call("query", pk=pk("a"), sk_prefix=prefix)
    assert [item["sk"] for item in page["items"]] == [text for text in IN_ORDER if text.startswith(prefix)]


def test_processes_see_each_others_writes(data: Data, file: Path) -> None:
    with Child(file) as other:
        data.put("1", by="us")
        assert other.answer("get", pk=pk("a"), sk="1")["result"]["item"]["by"] == "us"
        assert other.answer("put", item={"pk": pk("a"), "sk": "2", "by": "them"})["result"]["created"] is True
        assert data.call("get", pk=pk("a"), sk="2")["item"]["by"] == "them"


# Forked, so that all twenty are at it within the same millisecond.
RACE = """
import multiprocessing, pathlib, sys
from tests.local.data import Data

def provision(barrier, answers):
    data = Data(pathlib.Path(sys.argv[1]))
    barrier.wait()
    answers.put(data.answer("provision"))

fork = multiprocessing.get_context("fork")
barrier, answers = fork.Barrier(20), fork.Queue()
for _ in range(20):
    fork.Process(target=provision, args=(barrier, answers)).start()
for _ in range(20):
    answer = answers.get()
    print(answer.get("result", answer).get("created", answer))
"""


@pytest.mark.parametrize("attempt", range(3))
def test_twenty_processes_at_its_first_use(file: Path, data: Data, attempt: int) -> None:
    race = subprocess.run([sys.executable, "-c", RACE, str(file)], capture_output=True, text=True, check=True)
    assert sorted(race.stdout.split()) == ["False"] * 19 + ["True"]
    assert data.call("info")["provisioned"] is True


def test_the_first_use_waits_for_another_process_that_makes_it(file: Path, data: Data) -> None:
    file.parent.mkdir()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection, ThreadPoolExecutor() as executor:
        connection.execute("BEGIN IMMEDIATE")
        waiting = executor.submit(data.call, "provision")
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
        connection.execute("ROLLBACK")
        assert waiting.result(300)["created"] is True


def test_two_stores_of_one_process_at_its_first_use(
    data: Data, file: Path, open_data: Callable[[Path], Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that closes a file loses all its locks on it, and other processes take what it writes for left over."""
    close, made, go_on = os.close, threading.Event(), threading.Event()

    def close_late(descriptor: int) -> None:
        if not made.is_set():
            made.set()
            go_on.wait(300)
        close(descriptor)

    monkeypatch.setattr(os, "close", close_late)
    second = open_data(file)
    with ThreadPoolExecutor() as executor:
        making = executor.submit(data.call, "provision")
        assert made.wait(300)
        using = executor.submit(second.call, "provision")
        wait([using], 0.5)
        go_on.set()
        assert sorted([making.result(300)["created"], using.result(300)["created"]]) == [False, True]
    with Child(file) as other:
        assert other.answer("put", item={"pk": pk("a"), "sk": "1"})["result"]["created"] is True
    second.put("2")
    with Child(file) as other:
        assert other.answer("get", pk=pk("a"), sk="2")["result"]["found"] is True


def test_threads_share_connections(data: Data) -> None:
    data.put("1")
    with ThreadPoolExecutor(16) as executor:
        found = list(executor.map(lambda _: data.call("get", pk=pk("a"), sk="1")["found"], range(300)))
    assert all(found)


def test_a_file_deleted_while_the_server_runs_is_made_anew(data: Data, file: Path) -> None:
    with Child(file) as other:
        data.put("old")
        assert other.answer("get", pk=pk("a"), sk="old")["result"]["found"] is True
        for path in file.parent.iterdir():
            path.unlink()
        assert data.sort_keys() == []
        assert not file.exists()
        data.put("new")
        assert other.answer("put", item={"pk": pk("a"), "sk": "newer"})["result"]["created"] is True
        assert data.sort_keys() == ["new", "newer"]
    data.close()
    assert data.sort_keys() == ["new", "newer"]


def test_a_file_replaced_while_the_server_runs_is_the_new_one(
    data: Data, file: Path, tmp_path: Path, open_data: Callable[[Path], Data]
) -> None:
    replacement = open_data(tmp_path / "replacement")
    replacement.put("new")
    replacement.close()
    data.put("old")
    file.parent.rename(tmp_path / "moved away")
    file.parent.mkdir()
    (tmp_path / "replacement").rename(file)
    assert data.sort_keys() == ["new"]
    data.put("newer")
    assert data.sort_keys() == ["new", "newer"]
    assert open_data(tmp_path / "moved away" / file.name).sort_keys() == ["old"]
