"""Checks a file's location: whether SQLite can share it there, and who else can open or replace it."""

import os
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

# SQLite's WAL needs locks and shared memory (https://sqlite.org/wal.html). They do not work between machines, nor
# between a virtual machine and its host. Linux shows some of these kinds with "fuse." in front.
_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "afpfs", "ceph", "glusterfs", "lustre", "webdav"}
    | {"sshfs", "s3fs", "rclone"}
    | {"9p", "virtiofs", "grpcfuse", "osxfs", "fakeowner", "vboxsf", "prl_fs", "vmhgfs", "vmhgfs-fuse"}
)
_MOUNTS = Path("/proc/self/mountinfo")


def find_mount_problem(path: Path) -> tuple[str, str] | None:
    """Return why the mount that holds `path` cannot be used, as the end of a sentence, and what to do. None if it can.

    Args:
        path: without symbolic links.
    """
    mount, kind = _find_mount(str(path))
    if mount == str(path):
        return "is itself a mount point: SQLite would not find the log of the mounted file", (
            "Mount the directory that holds the file instead, for example: docker -v DIRECTORY:DIRECTORY"
        )
    if kind.removeprefix("fuse.") in _NETWORK_FILE_SYSTEMS:
        return f"is on a network file system ({kind}), where SQLite's locks do not hold", (
            "Choose a file on a local disk with DDB_MCP_LOCAL_PATH; this one is untouched."
        )
    return None


def _find_mount(path: str) -> tuple[str, str]:
    """Return the mount point that holds a path and the kind of its file system; empty if unknown."""
    if os.name == "nt":
        return "", "smb" if path.startswith("\\\\") else ""
    best, kind = "", ""
    for mount, its_kind in _read_mounts():
        if len(mount) >= len(best) and (path == mount or path.startswith(mount.rstrip("/") + "/")):
            best, kind = mount, its_kind
    return best, kind


def _read_mounts() -> Iterator[tuple[str, str]]:
    """Yield each mount point with the kind of its file system: https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html"""
    try:
        lines = os.fsdecode(_MOUNTS.read_bytes()).split("\n")
    except OSError:  # not Linux
        return
    for line in lines:
        mount, _, file_system = line.partition(" - ")
        if file_system:
            name = re.sub(rb"\\([0-7]{3})", lambda escape: bytes([int(escape[1], 8)]), os.fsencode(mount.split(" ")[4]))
            yield os.fsdecode(name), file_system.split(" ")[0]


def list_access_warnings(path: Path) -> list[str]:
    """Warn if other users of this machine can open `path`, or put another file in its place."""
    path = Path(os.path.realpath(path))
    try:
        mode = os.stat(path).st_mode if path.exists() else stat.S_IFREG
        folders = {folder: os.stat(folder).st_mode for folder in path.parents}
    except OSError:  # a folder that is not there yet will be this user's alone
        return []
    if os.name != "posix" or not stat.S_ISREG(mode) or not all(mode & 0o011 for mode in folders.values()):
        return []  # others cannot come through the folders
    warnings = [
        f"Any user of this machine may write in {folder} (mode {stat.S_IMODE(mode):04o}) and so replace {path} or its "
        f"log. Move the file, or run: chmod o-w {shlex.quote(str(folder))}"
        for folder, mode in folders.items()
        # The sticky bit keeps others from renaming files, but not from adding a log.
        if mode & stat.S_IWOTH and (folder == path.parent or not mode & stat.S_ISVTX)
    ]
    if mode & 0o066:
        warnings.append(
            f"Other users of this machine may open {path} (mode {stat.S_IMODE(mode):04o}). Run: chmod 600 "
            f"{shlex.quote(str(path))}, and the same for the files of that name that end in -wal and -shm."
        )
    return warnings
