"""Files that the command line writes, and errors that name their file."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ddb_mcp.core.errors import InvalidArgument

# Not the file's own name with something added: that could be too long for the file system.
_PART = ".ddb-mcp-"


@contextmanager
def name_errors(name: str | Path) -> Iterator[None]:
    """Name a file in each OSError that names none: those of reads and writes do not say which file failed."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(name)) from error


@contextmanager
def write_whole_file(path: Path, *, replaces: bool = False) -> Iterator[IO[bytes]]:
    """Yield a file to write to. It gets its name only when it is complete and on the disk; only its owner can read it.

    Args:
        replaces: whether it may replace an existing file.

    Raises:
        InvalidArgument: its folder does not exist; or the name is taken, before or after the file was written.
        OSError: the file cannot be created, before anything else is done; or it cannot be written. It names the path.
    """
    if os.path.lexists(path) and not replaces:
        raise _taken(path)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InvalidArgument(f"There is no directory {folder}.", next="Create it, or choose another name.")
    with name_errors(path):
        descriptor, part = tempfile.mkstemp(dir=folder, prefix=_PART)  # of mode 0600
        try:
            with open(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if not replaces:
                _reserve(path)
            os.replace(part, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(part)
            raise


def _reserve(path: Path) -> None:
    """Take the name by an empty file, which no other process can then take. Raises InvalidArgument."""
    try:
        path.touch(0o600, exist_ok=False)
    except FileExistsError:
        raise _taken(path) from None


def _taken(path: Path) -> InvalidArgument:
    return InvalidArgument(f"{path} already exists.", next="Choose another name, or remove it.")
