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

DDB_MCP = str(Path(sys.executable).with_name("ddb-mcp"))


class Operator:
    """Storage and registry in one folder, and the command line over them."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DDB_MCP_LOCAL_PATH": str(folder / "items.sqlite3"),
            **settings,
        }

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """`ddb-mcp …`"""
        environment = {**self.environment, **settings}
        return subprocess.run(
            [DDB_MCP, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )

    def deployments(self, *arguments: str) -> str:
        """What `ddb-mcp gateway deployments …` prints, which must succeed."""
        done = self.run("gateway", "deployments", *arguments, "--registry", str(self.folder / "registry.sqlite3"))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def serve(self, *arguments: str, port: int = 0) -> GatewayProcess:
        return GatewayProcess(self, port, arguments)


class GatewayProcess:
    """`ddb-mcp gateway serve`, as a context manager that ends with SIGTERM."""

    def __init__(self, operator: Operator, port: int, arguments: tuple[str, ...]) -> None:
        self._operator = operator
        self._log = operator.folder / f"log-{time.monotonic_ns()}"
        self._command = [DDB_MCP, "gateway", "serve", "--registry", str(operator.folder / "registry.sqlite3")]
        self._command += ["--port", str(port), *arguments]
        self.url = ""

    def __enter__(self) -> Self:
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                self._command, env=self._operator.environment, stderr=log, stdout=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + 30
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
        self.process.wait(60)

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def requests(self) -> list[dict[str, Any]]:
        """The access log."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def kill(self) -> None:
        """kill -9"""
        self.process.kill()
        self.process.wait()
