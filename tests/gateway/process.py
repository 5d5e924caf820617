"""The gateway as an operator runs it: `ddb-mcp gateway …` as processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.commands import run_command
from tests.support.forking import DDB_MCP, Process
from tests.support.waiting import wait_until

# The command line with other budgets, for tests that cannot wait as long as an operator.
_WITH_LIMITS = """
import importlib, json, sys
from ddb_mcp.cli.main import main
for path, value in json.loads(sys.argv.pop(1)).items():
    module, _, name = path.rpartition(".")
    assert hasattr(importlib.import_module(module), name)
    setattr(importlib.import_module(module), name, value)
sys.exit(main())
"""


class Operator:
    """Storage and registry in one folder, and the command line over them.

    Attributes:
        limits: limits that its commands have instead of their own, by module and name.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.limits: dict[str, float] = {}
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DDB_MCP_LOCAL_PATH": str(folder / "items.sqlite3"),
            **settings,
        }

    def command(self, *arguments: str) -> list[str]:
        """What starts `ddb-mcp …`"""
        if not self.limits:
            return [DDB_MCP, *arguments]
        return [sys.executable, "-c", _WITH_LIMITS, json.dumps(self.limits), *arguments]

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """`ddb-mcp …`, in this process."""
        with pytest.MonkeyPatch.context() as patch:
            for path, value in self.limits.items():
                patch.setattr(path, value)
            return run_command(*arguments, environment={**self.environment, **settings})

    def deployments(self, *arguments: str) -> str:
        """What `ddb-mcp gateway deployments …` prints, which must succeed."""
        return self.gateway("deployments", *arguments)

    def gateway(self, *arguments: str) -> str:
        """What `ddb-mcp gateway …` prints, which must succeed."""
        done = self.run("gateway", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def remove(self, name: str, seconds: float = 0) -> str:
        """What `deployments remove` prints where requests are over after so many seconds."""
        before, self.limits = self.limits, {**self.limits, "ddb_mcp.gateway.removal.REMOVAL_SECONDS": seconds}
        try:
            return self.deployments("remove", name, "--yes")
        finally:
            self.limits = before

    def serve(self, *arguments: str, port: int = 0) -> GatewayProcess:
        return GatewayProcess(self, port, arguments)


class GatewayProcess:
    """`ddb-mcp gateway serve`, as a context manager that ends with SIGTERM."""

    def __init__(self, operator: Operator, port: int, arguments: tuple[str, ...]) -> None:
        self._operator = operator
        self._log = operator.folder / f"log-{time.monotonic_ns()}"
        self._command = operator.command("gateway", "serve", "--port", str(port), "--drain-seconds", "0", *arguments)
        self.url = ""

    def __enter__(self) -> Self:
        with self._log.open("w") as log:
            self.process = Process(
                self._command, env=self._operator.environment, stderr=log, stdout=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + 300
        while not (found := re.search(r"Listening on (\S+)", self.log)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise AssertionError(self.log)
            time.sleep(0.02)
        self.url = found[1]
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(300)

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def requests(self, least: int = 1) -> list[dict[str, Any]]:
        """The access log, once it has so many lines: a line comes after its response."""
        entries: list[dict[str, Any]] = []

        def has_enough() -> bool:
            entries[:] = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
            return len(entries) >= least

        wait_until(has_enough)
        return entries

    def kill(self) -> None:
        """kill -9"""
        self.process.kill()
        self.process.wait()
