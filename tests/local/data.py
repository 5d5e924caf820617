"""A deployment in a local file: in this process, or in a child process that can be held back, restricted or killed.

Run as `python -m tests.local.data PATH [PREFIX]` it answers each line of stdin, `[operation, arguments]` as JSON, with
a line of stdout: `{"result": …}` or `{"error": …}`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import anyio

from ddb_mcp.core.errors import DdbMcpError
from ddb_mcp.core.keys import Prefix
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.local.store import LocalStore
from tests.support.forking import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PREFIX = "deploy#test"


def pk(suffix: str) -> str:
    return f"{PREFIX}#{suffix}"


class Data:
    """The operations, called from a test."""

    def __init__(self, path: Path, prefix: str = PREFIX) -> None:
        self.store = LocalStore(path, "test")
        self.service = DataService(self.store, Prefix(prefix), max_result_bytes=10_000_000)

    def call(self, operation: str, /, **arguments: Any) -> dict[str, Any]:
        return anyio.run(partial(self.service.run_operation, operation, arguments))

    def answer(self, operation: str, /, **arguments: Any) -> dict[str, Any]:
        """`{"result": …}` or `{"error": …}`."""
        try:
            return {"result": self.call(operation, **arguments)}
        except DdbMcpError as error:
            return {"error": error.to_json()}

    def put(self, sk: str, **attributes: Any) -> None:
        self.call("put", item={"pk": pk("a"), "sk": sk, **attributes})

    def put_all(self, items: Sequence[dict[str, Any]]) -> None:
        for start in range(0, len(items), 100):
            assert self.call("put", items=items[start : start + 100])["failed"] == []

    def sort_keys(self) -> list[str]:
        """Those of all items, in the order of a scan."""
        return [item["sk"] for item in self.call("scan", limit=1000)["items"]]

    def close(self) -> None:
        anyio.run(self.store.close)


class Child:
    """`Data` in a process of its own.

    Args:
        command: what runs Python, where that is to be restricted.
        preexec: what the new process does to itself before it runs Python.
    """

    def __init__(self, path: Path, command: Sequence[str] = (), preexec: Callable[[], None] | None = None) -> None:
        self.process = Process(
            [*command, sys.executable, "-m", "tests.local.data", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=preexec,
        )

    def start(self, operation: str, /, **arguments: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([operation, arguments]) + "\n")
        self.process.stdin.flush()

    def result(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the child process has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def answer(self, operation: str, /, **arguments: Any) -> dict[str, Any]:
        self.start(operation, **arguments)
        return self.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if exc_info[0] is not None:
            self.process.kill()
        self.process.communicate()


def main(path: str, prefix: str = PREFIX) -> None:
    data = Data(Path(path), prefix)
    for line in sys.stdin:
        operation, arguments = json.loads(line)
        sys.stdout.write(json.dumps(data.answer(operation, **arguments)) + "\n")
        sys.stdout.flush()
    data.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
