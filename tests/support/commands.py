"""The command line without a process of its own, which would take most of a test's time to start.

A test whose subject is the process (serving, signals, terminals, pipes, encodings, closed streams) starts one.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
import uvicorn

from ddb_mcp.cli.main import main
from ddb_mcp.server import stdio
from tests.support.forking import DDB_MCP, Process

if TYPE_CHECKING:
    from collections.abc import Mapping


def run_command(
    *words: str, environment: Mapping[str, str], folder: Path | None = None, stdin: str | bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Run `ddb-mcp` with these words, in this environment and folder, and return what it wrote, read as UTF-8.

    Calls `main` in this process and in the main thread, with files in place of the standard streams. An exception that
    would show a user a traceback is raised.
    """
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write(stdin if isinstance(stdin, bytes) else stdin.encode())
        given.seek(0)
        streams = {
            name: open(os.dup(file.fileno()), mode, encoding="utf-8")  # noqa: SIM115
            for name, file, mode in (("stdin", given, "r"), ("stdout", out, "w"), ("stderr", err, "w"))
        }
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        for name in set(os.environ) - environment.keys():
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        if folder is not None:
            patch.chdir(folder)
        patch.setattr(logging.root, "handlers", [])  # as in a new process: pytest has one there
        patch.setattr(stdio, "serve_stdio", _refuse_to_serve)
        patch.setattr(uvicorn.Server, "serve", _refuse_to_serve)
        level = logging.root.level
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            logging.root.setLevel(level)
            for stream in streams.values():
                stream.close()
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(words, code, out.read().decode(), err.read().decode())


def run_process(
    *words: str, environment: Mapping[str, str], folder: Path | None = None, stdin: str | bytes = b""
) -> subprocess.CompletedProcess[str]:
    """The same with the installed program, in a process of its own."""
    given = stdin if isinstance(stdin, bytes) else stdin.encode()
    pipe = subprocess.PIPE
    with Process([DDB_MCP, *words], env=environment, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        out, err = process.communicate(given, timeout=300)
    assert b"Traceback" not in err
    return subprocess.CompletedProcess(words, process.returncode, out.decode(), err.decode())


def _refuse_to_serve(*_: object) -> NoReturn:
    raise AssertionError("A server takes the process for itself: start one.")
