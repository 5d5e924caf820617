"""Which deployments' writes are under way in any gateway, so that a removal can wait for them and for no longer."""

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import anyio

from ddb_mcp.core.errors import Misconfigured, Unavailable
from ddb_mcp.stores.base import Progress

try:
    import fcntl
except ImportError:  # Windows, whose locks cannot be shared
    fcntl = None  # type: ignore[assignment]

_POLL_SECONDS = 0.05


class UnderWay:
    """Locks in a file beside the registry: each deployment has a byte there that is locked while it is written to.

    The file stays empty. Locks are the process's own, so that none outlives it, and this object must be the only one on
    its file in a process.

    Args:
        registry: the registry's file.

    Raises:
        Misconfigured: the file beside it cannot be opened.
    """

    def __init__(self, registry: Path) -> None:
        file = registry.resolve()
        file = file.with_name(file.name + "-writes")
        try:
            self._file = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Misconfigured(
                f"{file} cannot be opened: {error.strerror}.", next="Correct it or remove it."
            ) from None
        self._writes: Counter[str] = Counter()

    @contextlib.contextmanager
    def write(self, name: str) -> Iterator[None]:
        """Held while a write of the deployment is carried out, from before its token is looked at."""
        if fcntl and not self._writes[name]:
            # It waits for `ended` at most, which holds the byte for no longer than it takes to see that it can.
            fcntl.lockf(self._file, fcntl.LOCK_SH, 1, _byte(name))
        self._writes[name] += 1
        try:
            yield
        finally:
            self._writes[name] -= 1
            if fcntl and not self._writes[name]:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _byte(name))

    async def ended(self, name: str, seconds: float, progress: Progress) -> None:
        """Wait until no write is under way of a deployment whose token has ended; at once where there is none.

        Args:
            seconds: how long at most; where the system has no such locks, always so long.

        Raises:
            Unavailable: there still is one.
        """
        deadline = anyio.current_time() + seconds
        told = False
        while not self._idle(name):
            if not told:
                await progress("Waiting for writes that are under way")
                told = True
            if anyio.current_time() >= deadline:
                if not fcntl:
                    return
                raise Unavailable(f"Writes of {name} are still under way after {seconds} s.", next="Run it again.")
            await anyio.sleep(_POLL_SECONDS)

    def close(self) -> None:
        os.close(self._file)

    def _idle(self, name: str) -> bool:
        if not fcntl:
            return False
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte(name))
        except (BlockingIOError, PermissionError):
            return False
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _byte(name))
        return True


def _byte(name: str) -> int:
    """Where in the file; no two of any number of deployments that one gateway could serve share it."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
