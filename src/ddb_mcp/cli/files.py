"""Files that the command line writes."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ddb_mcp.core.errors import InvalidArgument


@contextmanager
def whole_file(path: Path, *, replaces: bool = False) -> Iterator[IO[bytes]]:
    """A file to write to. It gets its name only when it is whole and on the disk; its owner alone can read it.

    Args:
        replaces: whether it may replace a file that is there.

    Raises:
        InvalidArgument: its folder is not there, or the file is.
        OSError: the file cannot be made, before anything else is done; or it cannot be written.
    """
    if path.exists() and not replaces:
        raise InvalidArgument(f"There is a file {path} already.", next="Give another name, or remove the file.")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InvalidArgument(f"There is no folder {folder}.", next="Make it, or give another name.")
    descriptor, part = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")  # of mode 0600
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
