"""`python -m demo`, which `make demo` runs, shows what it promises."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.hosts import TOOLS

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> str:
    # A home of its own, to prove that the demo leaves nothing there.
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=PROJECT,
        env={**os.environ, "HOME": str(home), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert not list(home.iterdir())
    return done.stdout.decode()


def _calls(shown: str) -> list[tuple[str, str]]:
    """Each call, `tool {arguments}`, and what came back without the line breaks that folding put in."""
    calls = re.findall(r"^  (\w+ \{.*\})\n((?:  [→✗] .*\n)+)", shown, re.MULTILINE)
    return [(call, re.sub(r"\s*\n?  [→✗] ", "", answer).strip()) for call, answer in calls]


def test_all_seven_tools_are_called(shown: str) -> None:
    assert {call.split()[0] for call, _ in _calls(shown)} == set(TOOLS)


def test_one_page_is_followed_by_its_cursor(shown: str) -> None:
    queries = [(call, answer) for call, answer in _calls(shown) if call.startswith("query") and "limit" in call]
    (_, first), (following, rest) = queries
    (cursor,) = re.findall('"cursor":"(.*?)"', first)
    assert f'"cursor": "{cursor}"' in following
    assert '"complete":false' in first
    assert '"complete":true' in rest


def test_a_foreign_key_is_refused(shown: str) -> None:
    (answer,) = (answer for call, answer in _calls(shown) if "deploy#other" in call)
    assert '"code":"prefix_violation"' in answer


def test_a_summary_shows_the_entity_types(shown: str) -> None:
    (answer,) = (answer for call, answer in _calls(shown) if '"view": "summary"' in call)
    assert set(re.findall('"sk":"([A-Z]+)"', answer)) >= {"PROFILE", "ORDER", "POST", "SESSION"}


def test_only_what_should_fail_fails(shown: str) -> None:
    failed = re.findall(r'"error":\{"code":"(\w+)"', "".join(answer for _, answer in _calls(shown)))
    assert sorted(failed) == ["condition_failed", "prefix_violation", "prefix_violation"]


@pytest.mark.skipif(os.name != "posix", reason="a signal for a whole group of processes")
def test_ctrl_c_ends_it_without_a_word() -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "demo"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a group of its own: Ctrl-C reaches the server too
    ) as process:
        assert process.stdout is not None
        assert any(b"ready in" in line for line in process.stdout)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (130, b"")


def test_a_closed_pipe_ends_it_without_a_word() -> None:
    command = f"{shlex.quote(sys.executable)} -u -m demo | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=PROJECT, capture_output=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_without_arrows_shows_the_rest() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=PROJECT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"7. delete" in done.stdout
