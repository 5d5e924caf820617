"""Start our programs without their imports: fork them from a process that has imported everything.

A server spends most of its start, half a second of processor time, on imports, and the tests start hundreds. `Process`
is otherwise a `subprocess.Popen`: a child of this process with its own environment, folder, streams and signals, which
runs the program from its first line. It starts an ordinary process for any other program, with a `preexec_fn` or
variables for the interpreter (`PYTHON…`), and on systems other than Linux.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib
import inspect
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
DDB_MCP = str(Path(sys.executable).with_name("ddb-mcp"))
TOY = "tests.protocol.toy"
_MODULES = ("ddb_mcp", TOY, "tests.local.data")

_PR_SET_CHILD_SUBREAPER = 36
_LENGTH = 4
_one_at_a_time = threading.Lock()


class Process(subprocess.Popen[Any]):
    """`subprocess.Popen`, but for where the process comes from."""

    def _execute_child(self, *given: Any) -> None:
        """Replace a private method of `Popen`; a Python that does not call it starts an ordinary process."""
        ordinary = getattr(super(), "_execute_child")  # noqa: B009
        named = inspect.signature(ordinary).bind(*given).arguments
        words = [os.fspath(word) for word in named["args"]]
        environment = dict(os.environ if named["env"] is None else named["env"])
        can_fork = sys.platform == "linux" and hasattr(self, "_close_pipe_fds")
        if not can_fork or named["preexec_fn"] or named["shell"] or not _is_ours(words, environment):
            ordinary(*given)
            return
        order = {
            "words": words,
            "environment": environment,
            "folder": os.fspath(named["cwd"] or os.getcwd()),
            "session": bool(named.get("start_new_session")),
        }
        streams = [named[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        self.pid = _fork(order, [own if given == -1 else given for own, given in enumerate(streams)])
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        getattr(self, "_close_pipe_fds")(*(named[name] for name in pipes))  # noqa: B009


def _is_ours(words: Sequence[str], environment: dict[str, str]) -> bool:
    if any(name.startswith("PYTHON") for name in environment):
        return False
    if words[0] == sys.executable and len(words) > 2:
        return words[1] == "-m" and words[2] in _MODULES
    return words[0] == DDB_MCP


def _fork(order: dict[str, Any], streams: list[int]) -> int:
    """Have a child of this process forked that carries out the order, and return its number."""
    with _one_at_a_time:
        origin = _origin()
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        # The origin forks twice, and the process between ends at once. Its child is then an orphan, whose new parent is
        # this process while it is a subreaper.
        assert prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        try:
            text = json.dumps(order).encode()
            socket.send_fds(origin, [len(text).to_bytes(_LENGTH, "big")], streams)
            origin.sendall(text)
            return int.from_bytes(_receive(origin, _LENGTH), "big")
        finally:
            prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@functools.cache
def _origin() -> socket.socket:
    """Start the process that has imported everything, and return the way to it. It ends with this process."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "tests.support.forking", str(theirs.fileno())]
        _origin.process = subprocess.Popen(  # type: ignore[attr-defined]  # kept: one that is dropped is warned of
            command, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
        )
    return ours


def _receive(source: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = source.recv(size - len(received))
        if not part:
            raise EOFError
        received += part
    return received


# In the process that has imported everything


def _import_everything() -> None:
    import ddb_mcp

    for module in pkgutil.walk_packages(ddb_mcp.__path__, "ddb_mcp."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("boto3", "uvicorn", "uvloop", "httptools", "httpx", *_MODULES[1:]):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _next_order(source: socket.socket) -> dict[str, Any]:
    """Return an order in the process that is to carry it out, as often as one comes."""
    while True:
        header, streams, _, _ = socket.recv_fds(source, _LENGTH, 3)
        if not header:
            os._exit(0)
        order: dict[str, Any] = json.loads(_receive(source, int.from_bytes(header, "big")))
        told, tell = os.pipe()
        between = os.fork()
        if not between:
            child = os.fork()
            if child:
                os.write(tell, child.to_bytes(_LENGTH, "big"))
                os._exit(0)
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            source.close()
            os.closerange(3, max(told, tell, *streams) + 1)
            return order
        os.waitpid(between, 0)
        source.sendall(os.read(told, _LENGTH))
        for descriptor in (told, tell, *streams):
            os.close(descriptor)


def _become(order: dict[str, Any]) -> None:
    """Make of this process what a new one of that command would be."""
    if order["session"]:
        os.setsid()
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    out_buffering = 1 if os.isatty(1) else -1
    streams = {
        "stdin": open(0, closefd=False),  # noqa: SIM115
        "stdout": open(1, "w", buffering=out_buffering, closefd=False),  # noqa: SIM115
        "stderr": open(2, "w", buffering=1, errors="backslashreplace", closefd=False),  # noqa: SIM115
    }
    for name, stream in streams.items():
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run(words: list[str]) -> None:
    if words[0] == DDB_MCP:
        sys.argv = words
        runpy.run_path(DDB_MCP, run_name="__main__")
    else:
        sys.argv = words[2:]
        sys.modules.pop(words[2], None)
        runpy.run_module(words[2], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what a keyboard sends is for the tests
    _import_everything()
    _order = _next_order(socket.socket(fileno=int(sys.argv[1])))
    _become(_order)
    _run(_order["words"])
