"""One file under several names: two processes share all writes, or the second one is refused.

SQLite finds the log of a file by the name under which it was opened. Each name is tried against each other name, by two
processes that both keep the file open, so that every write is still in the log.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ddb_mcp.config.resolve import resolve_gateway
from ddb_mcp.config.settings import LocalStorage
from ddb_mcp.gateway.registry import make_registry_settings
from tests.local.data import Child, Data, pk
from tests.support.engines import CI

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


KINDS = ["path", "symlink", "symlink to directory", "hard link", "bind mount", "bind mount of directory"]
REFUSED = {"hard link": "hard link", "bind mount": "mount point"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder / "items.db"


def needs_mounts() -> None:
    """Skip the test if nothing can be mounted here. In CI a root that may mount has to."""
    probe = ["unshare", "--mount", "mount", "--bind", "/tmp", "/tmp"]
    if shutil.which("unshare") and not subprocess.run(probe, capture_output=True).returncode:
        return
    status = Path("/proc/self/status")
    rights = re.search(r"CapEff:\s*(\w+)", status.read_text()) if status.exists() else None
    may_mount = rights is not None and int(rights[1], 16) >> 21 & 1  # CAP_SYS_ADMIN
    assert not (CI and may_mount), "root cannot mount"
    pytest.skip("mount --bind needs root on Linux")


class Names:
    """Other names of a file, each in a directory of its own."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.folder = file.parent.parent / "names"
        self.folder.mkdir()

    def path(self, kind: str) -> tuple[Path, list[str]]:
        """Make a name of this kind. Return it, and the command in which it is valid."""
        match kind:
            case "path":
                return self.file, []
            case "symlink":
                (name := self.folder / "symlink.db").symlink_to(self.file)
                return name, []
            case "symlink to directory":
                (self.folder / "data").symlink_to(self.file.parent)
                return self.folder / "data" / self.file.name, []
            case "hard link":
                (name := self.folder / "hard.db").hardlink_to(self.file)
                return name, []
            case "bind mount":
                (name := self.folder / "mounted.db").touch()
                return name, self._mounted(self.file, name)
            case _:
                (target := self.folder / "mounted").mkdir()
                return target / self.file.name, self._mounted(self.file.parent, target)

    @staticmethod
    def _mounted(source: Path, target: Path) -> list[str]:
        needs_mounts()
        script = 'mount --bind "$0" "$1" && shift && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, str(source), str(target)]


@pytest.fixture
def names(file: Path) -> Names:
    return Names(file)


def put(child: Child, sk: str) -> dict[str, Any]:
    return child.answer("put", item={"pk": pk("a"), "sk": sk})


def sort_keys(child: Child) -> list[str]:
    return [item["sk"] for item in child.answer("scan")["result"]["items"]]


@pytest.mark.skipif(os.name == "nt", reason="links and mounts of POSIX")
@pytest.mark.parametrize(
    ("first", "second"), [pair for pair in itertools.permutations(KINDS, 2) if pair[0] not in REFUSED]
)
def test_two_names_share_all_writes_or_the_second_is_refused(names: Names, first: str, second: str) -> None:
    with Child(names.file) as made:
        put(made, "0")
    path, command = names.path(first)
    with Child(path, command=command) as one:
        assert put(one, "1")["result"]["created"] is True
        path, command = names.path(second)
        with Child(path, command=command) as two:
            answer = put(two, "2")
            if second in REFUSED:
                assert answer["error"]["code"] == "misconfigured"
                assert REFUSED[second] in answer["error"]["message"]
                assert two.answer("get", pk=pk("a"), sk="1")["error"]["code"] == "misconfigured"
                if second == "bind mount":  # of which the process outside knows nothing
                    assert sort_keys(one) == ["0", "1"]
            else:
                assert answer["result"]["created"] is True
                assert put(one, "3")["result"]["created"] is True
                assert sort_keys(one) == sort_keys(two) == ["0", "1", "2", "3"]


@pytest.mark.skipif(os.name == "nt", reason="links and mounts of POSIX")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_second_name_alone_is_refused(names: Names, kind: str) -> None:
    with Child(names.file) as made:
        put(made, "0")
    before = names.file.read_bytes()
    path, command = names.path(kind)
    with Child(path, command=command) as child:
        for operation in ("info", "scan", "provision"):
            error = child.answer(operation)["error"]
            assert error["code"] == "misconfigured"
            assert str(path) in error["message"]
    assert names.file.read_bytes() == before
    assert [path.name for path in names.file.parent.iterdir()] == [names.file.name]


def test_a_hard_link_that_appears_is_refused_and_its_removal_is_noticed(file: Path, data: Data) -> None:
    data.put("1")
    (link := file.with_name("backup.db")).hardlink_to(file)
    error = data.answer("get", pk=pk("a"), sk="1")["error"]
    assert error["code"] == "misconfigured"
    assert "find / -samefile" in error["next"]
    assert data.answer("put", item={"pk": pk("a"), "sk": "2"})["error"]["code"] == "misconfigured"
    link.unlink()
    assert data.sort_keys() == ["1"]


def test_a_reader_looks_for_the_log_beside_the_file_and_not_beside_the_link(
    file: Path, tmp_path: Path, data: Data, open_data: Callable[[Path], Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that sees no log takes the file for complete."""
    (link := tmp_path / "link.db").symlink_to(file)
    other = open_data(link)
    data.put("1")  # in the log
    monkeypatch.setattr("ddb_mcp.stores.local.file.SqliteFile.is_writable", lambda self: False)
    assert other.sort_keys() == ["1"]


def test_a_link_that_replaces_the_file_while_the_server_runs(
    file: Path, tmp_path: Path, data: Data, open_data: Callable[[Path], Data]
) -> None:
    other = open_data(tmp_path / "other.db")
    other.put("other")
    data.put("1")
    data.close()
    file.rename(tmp_path / "moved.db")
    file.symlink_to(tmp_path / "other.db")
    data.put("2")
    assert data.sort_keys() == other.sort_keys() == ["2", "other"]
    assert open_data(tmp_path / "moved.db").sort_keys() == ["1"]


def test_a_loop_of_links(file: Path, data: Data) -> None:
    file.symlink_to(file)
    for operation in ("info", "provision"):
        assert data.answer(operation)["error"]["code"] == "misconfigured"


@pytest.fixture
def lost(file: Path) -> Iterator[Child]:
    """A process that has the file open, with an item in the log, after the file was deleted."""
    with Child(file) as child:
        assert put(child, "1")["result"]["created"] is True
        file.rename(file.with_name("elsewhere.db"))
        yield child


def test_a_file_deleted_under_a_server_is_named_with_what_is_left_of_it(file: Path, lost: Child, data: Data) -> None:
    for _ in range(2):
        for process in (lost.answer, data.answer):  # after a restart too
            for operation, arguments in {"info": {}, "scan": {}, "put": {"item": {"pk": pk("a"), "sk": "2"}}}.items():
                error = process(operation, **arguments)["error"]
                assert error["code"] == "misconfigured"
                assert f"remove {file}-wal and {file}-shm" in error["next"]
        file.touch()  # an empty file is as good as none
    file.unlink()
    for end in ("-wal", "-shm"):
        file.with_name(file.name + end).unlink()
    assert put(lost, "2")["result"]["created"] is True
    assert data.sort_keys() == ["2"]


def test_a_file_that_is_put_back_has_lost_nothing(file: Path, lost: Child, data: Data) -> None:
    assert lost.answer("scan")["error"]["code"] == "misconfigured"
    file.with_name("elsewhere.db").rename(file)
    assert data.sort_keys() == sort_keys(lost) == ["1"]


def test_a_directory_renamed_under_a_server_takes_all_writes_along(
    file: Path, tmp_path: Path, data: Data, open_data: Callable[[Path], Data]
) -> None:
    with Child(file) as child:
        put(child, "1")
        data.put("2")
        file.parent.rename(tmp_path / "moved")
        assert sort_keys(child) == []
        put(child, "new")
        assert data.sort_keys() == ["new"]
        assert open_data(tmp_path / "moved" / file.name).sort_keys() == ["1", "2"]
    assert data.sort_keys() == ["new"]


def test_what_lies_beside_the_file_is_not_beside_a_link_to_it(file: Path, names: Names) -> None:
    """A gateway's registry and the endpoint's further tables."""
    link, _ = names.path("symlink")
    settings = resolve_gateway({"DDB_MCP_LOCAL_PATH": str(link)})
    assert isinstance(settings, LocalStorage)
    assert settings.local_path == file.resolve()
    registry = make_registry_settings(settings)
    assert isinstance(registry, LocalStorage)
    assert registry.local_path.parent == file.resolve().parent
