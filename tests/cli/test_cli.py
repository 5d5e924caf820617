"""The command line as people, scripts and agents' hosts use it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from ddb_mcp import __version__
from ddb_mcp.cli.commands import COMMANDS, SERVE, Command
from ddb_mcp.config.settings import SETTINGS
from ddb_mcp.service.results import NOTICE
from tests.protocol.wire import ENVELOPE, Wire, clean_environment
from tests.support.commands import run_command, run_process
from tests.support.forking import DDB_MCP, Process
from tests.support.permissions import lower_privileges, needs_permissions, permissions

if TYPE_CHECKING:
    from tests.support.engines import Engine

OWN = "deploy#local#user#7"
SECRET = "open-sesame"
# Python's usual ways out of an old locale switched off, so that it really has to do without UTF-8.
ASCII = pytest.param(
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    id="no UTF-8",
    marks=pytest.mark.skipif(not DDB_MCP.isascii(), reason="Python then imports nothing from a path that is not ASCII"),
)


class Run(Protocol):
    """Runs `ddb-mcp` with settings as environment variables, and returns what it wrote, read as UTF-8."""

    def __call__(self, *words: str, given: str | bytes = b"", **settings: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has configured nothing and owns nothing yet."""
    kept = clean_environment(HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path / "share"))
    for name in ("API_URL", "AUTH_TOKEN", "PYTHONUNBUFFERED"):
        kept.pop(name, None)
    return kept


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    def run(*words: str, given: str | bytes = b"", **settings: str) -> subprocess.CompletedProcess[str]:
        return run_command(*words, environment={**environment, **settings}, folder=tmp_path, stdin=given)

    return run


# Flags and values


def test_version(run: Run) -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ddb-mcp {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--dynamodb-tabel", "app"], "--dynamodb-table"),
        (["--prefix=deploy#a"], "--dynamodb-prefix"),
        (["--read-onyl", "doctor"], "--read-only"),
        (["doctor", "--read-onyl"], "--read-only"),
        (["call", "--reed-only", "info"], "--read-only"),
        (["--htp", "127.0.0.1:0"], "--http"),
        (["--mode", "locl", "call", "info"], "'local'"),
        (["--http", "127.0.0.1:0", "--log-level", "WARN"], "'WARNING'"),
        (["call", "--max-result-bytes", "32k", "info"], "a whole number"),
        (["--mode"], "--mode: expected one argument"),
        (["--http", "8765"], "127.0.0.1:8765"),
        (["caal"], "'call'"),
        (["call", "scna"], "'scan'"),
        (["doctor", "now"], "now"),
        (["provision"], "ddb-mcp call provision"),
        (["qurey"], "'query'"),
        (["call", "--http-hosts", "a", "info"], "does not apply to call"),
        (["--dynamodb-prefx", "deploy#a", "call", "info"], "--dynamodb-prefix"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_names_what_was_meant(run: Run, words: list[str], named: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("flag", ["--auth-token", "--http-token"])
def test_a_secret_as_a_flag_is_refused_with_its_variable_and_not_shown(run: Run, flag: str) -> None:
    for words in ([flag, SECRET], [f"{flag}={SECRET}"], ["doctor", flag, SECRET]):
        done = run(*words)
        assert done.returncode == 2
        assert "DDB_MCP_" + flag[2:].upper().replace("-", "_") in done.stderr
        assert SECRET not in done.stderr


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"DDB_MCP_MOED": "local"}, "DDB_MCP_MODE"),
        ({"DDB_MCP_MODE": "dirct"}, "'direct'"),
        ({"DDB_MCP_READ_ONLY": "ja"}, "true, false"),
        ({"DDB_MCP_READ_BUDGET": "0"}, "from 1 to"),
        ({"DDB_MCP_MODE": "direct"}, "DYNAMODB_TABLE"),
        ({"DYNAMODB_TABLE": "app"}, "DYNAMODB_PREFIX"),
        ({"DYNAMODB_PREFIX": "deploy"}, "unquoted # begins a comment"),
        ({"DYNAMODB_PREFX": "deploy#a"}, "DYNAMODB_PREFIX"),
        ({"DDB-MCP-READONLY": "1"}, "DDB_MCP_READ_ONLY"),
        ({"API_URL": "http://x.example", "AUTH_TOKEN": ""}, "AUTH_TOKEN is empty"),
        ({"DDB_MCP_LOCAL_PATH": "items.db"}, "relative path"),
        ({"DDB_MCP_AUTH_TOKEN": SECRET}, "DDB_MCP_API_URL"),
    ],
)
def test_a_wrong_environment_ends_commands_and_http_with_2_and_names_what_is_wrong(
    run: Run, settings: dict[str, str], named: str
) -> None:
    for words in (["call", "info"], ["export"], ["--http", "127.0.0.1:0"]):
        done = run(*words, **settings)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.search(named, done.stderr)
        assert len(done.stderr.splitlines()) == 1
        assert SECRET not in done.stderr


@pytest.mark.parametrize(
    ("url", "named"), [("http://x.example", "DDB_MCP_ALLOW_HTTP"), ("x.example", "DDB_MCP_API_URL")]
)
def test_a_wrong_address_of_a_platform_ends_commands_and_http_with_2(
    environment: dict[str, str], url: str, named: str
) -> None:
    environment |= {"DDB_MCP_API_URL": url, "DDB_MCP_AUTH_TOKEN": "t"}
    for words in (["call", "info"], ["--http", "127.0.0.1:0"]):
        done = run_process(*words, environment=environment)
        assert (done.returncode, done.stdout) == (2, "")
        assert named in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_command_too_warns_of_half_a_pair(run: Run) -> None:
    done = run("call", "info", API_URL="https://app.example")
    assert json.loads(done.stdout)["mode"] == "local"
    assert "WARNING" in done.stderr
    assert "API_URL is ignored" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [SERVE, *(command for command in COMMANDS.values() if not command.nested)])
def test_help_of_a_command_documents_the_settings_that_it_takes_and_no_others(run: Run, command: Command) -> None:
    done = run(*command.name.split(), "--help", COLUMNS="500")
    assert done.returncode == 0
    shown = re.findall(r"^  (--\S+)(?: VALUE)?\s+\S.*\[([A-Z_]+); ", done.stdout, re.MULTILINE)
    assert shown == [(setting.flag, setting.variable) for setting in command.settings if setting.flag]
    for setting in command.settings:
        assert setting.secret or setting.help in done.stdout


def test_help_lists_the_commands_and_the_variables_for_secrets(run: Run) -> None:
    shown = run("--help", COLUMNS="500").stdout
    for command in COMMANDS.values():
        assert re.search(rf"^  {command.name} +{re.escape(command.help)}$", shown, re.MULTILINE)
    for setting in SETTINGS:
        assert not setting.secret or f"{setting.variable} ({setting.help})" in shown


def test_python_runs_the_package_as_the_command(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "ddb_mcp", "--version"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == f"ddb-mcp {__version__}\n"


def test_a_flag_wins_over_the_environment_wherever_it_stands(run: Run) -> None:
    for words in (
        ["--dynamodb-prefix", "deploy#flag", "call", "info"],
        ["call", "--dynamodb-prefix=deploy#flag", "info"],
    ):
        assert json.loads(run(*words, DYNAMODB_PREFIX="deploy#env").stdout)["prefix"] == "deploy#flag"


# ddb-mcp call


def test_call_prints_the_result_as_one_line_of_json(run: Run) -> None:
    item = {"pk": OWN, "sk": "PROFILE", "name": "Ada", "n": {"N": "12345678901234567890"}}
    assert run("call", "put", json.dumps({"item": item})).stdout.count("\n") == 1
    done = run("call", "get", json.dumps({"pk": OWN, "sk": "PROFILE"}))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"notice": NOTICE, "found": True, "item": item}


def test_call_without_arguments_and_with_arguments_from_stdin(run: Run) -> None:
    assert json.loads(run("call", "info").stdout)["mode"] == "local"
    given = json.dumps({"item": {"pk": OWN, "sk": "é"}}, ensure_ascii=False)
    assert json.loads(run("call", "put", "-", given=given).stdout)["sk"] == "é"
    assert json.loads(run("call", "put", "-", given=b"\xef\xbb\xbf" + given.encode()).stdout)["created"] is False


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("get", '{"pk": "deploy#other#a", "sk": "b"}', "prefix_violation"),
        ("get", '{"pk": "deploy#local#a", "sk": "b", "a": 1}', "invalid_argument"),
        ("get", "[]", "invalid_argument"),
        ("info", "{", "invalid_argument"),
        ("info", "", "invalid_argument"),
        ("get", '{"pk": "deploy#local#a", "sk": "b", "sk": "c"}', "invalid_argument"),
        ("put", '{"item": {"pk": "deploy#local#a", "sk": "b", "n": NaN}}', "invalid_argument"),
        ("put", '{"item": {"pk": "deploy#local#a", "sk": "b", "n": %s}}' % ("9" * 5000), "invalid_argument"),
        ("put", "[" * 100_000, "invalid_argument"),
    ],
)
def test_a_refused_call_ends_with_1_and_its_error_on_stderr(run: Run, tool: str, arguments: str, code: str) -> None:
    done = run("call", tool, arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert json.loads(done.stderr)["error"]["code"] == code


def test_call_keeps_to_read_only(run: Run) -> None:
    done = run("call", "put", json.dumps({"item": {"pk": OWN, "sk": "a"}}), DDB_MCP_READ_ONLY="1")
    assert json.loads(done.stderr)["error"]["code"] == "read_only"
    assert json.loads(run("call", "scan").stdout)["count"] == 0


@pytest.mark.parametrize("locale", [ASCII, pytest.param({"PYTHONIOENCODING": "latin-1"}, id="latin-1")])
def test_call_speaks_utf_8_in_any_locale(environment: dict[str, str], locale: dict[str, str]) -> None:
    environment = {**environment, **locale}
    put = json.dumps({"item": {"pk": OWN, "sk": "漢 ✓"}}, ensure_ascii=False)
    done = run_process("call", "put", "-", environment=environment, stdin=put)
    assert json.loads(done.stdout)["sk"] == "漢 ✓"
    refused = run_process("call", "get", "-", environment=environment, stdin=json.dumps({"pk": "漢", "sk": "✓"}))
    assert json.loads(refused.stderr)["error"]["code"] == "prefix_violation"


def test_a_reader_that_has_seen_enough_is_no_error_to_talk_about(environment: dict[str, str]) -> None:
    line = f"{shlex.quote(DDB_MCP)} doctor | true"
    done = subprocess.run(
        ["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_ctrl_c_ends_a_call_at_once_and_quietly(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as never_answers:
        settings = {"DDB_MCP_API_URL": f"http://127.0.0.1:{never_answers.getsockname()[1]}", "DDB_MCP_AUTH_TOKEN": "t"}
        command = [DDB_MCP, "call", "info"]
        with Process(command, env={**environment, **settings}, stderr=subprocess.PIPE) as process:
            never_answers.settimeout(300)
            connection, _ = never_answers.accept()  # so the call is under way
            with connection:
                process.send_signal(signal.SIGINT)
                assert process.communicate(timeout=300)[1] == b""
    assert process.returncode == 130


# ddb-mcp doctor


def test_doctor_shows_what_was_given_where_the_data_are_and_each_step(run: Run, tmp_path: Path) -> None:
    done = run("doctor", "--read-only", DYNAMODB_PREFIX="deploy#abc", AWS_REGION="not shown in this mode")
    assert (done.returncode, done.stderr) == (0, "")
    shown = {words[0]: words[1:] for line in done.stdout.splitlines() if (words := line.split())}
    given = ["DDB_MCP_MODE", "DDB_MCP_READ_ONLY", "DYNAMODB_TABLE", "DYNAMODB_PREFIX", "DDB_MCP_LOCAL_PATH"]
    assert [name for name in shown if name in {s.variable for s in SETTINGS}] == given
    assert " ".join(shown["DDB_MCP_MODE"]) == "local default, because nothing selects another mode"
    assert shown["DDB_MCP_READ_ONLY"] == ["on", "flag"]
    assert shown["DYNAMODB_PREFIX"] == ["deploy#abc", "environment"]
    assert shown["DDB_MCP_LOCAL_PATH"][0].startswith(str(tmp_path))
    for step in ("info", "scan one item", "get a missing item"):
        assert re.search(rf"^  {step} +ok, \d+ ms$", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("\nAll is well.\n")
    assert "the environment that your MCP host gives the server" in done.stdout
    assert len(done.stdout.splitlines()) <= 19
    assert not (tmp_path / "share").exists(), "doctor wrote"


@pytest.mark.skipif(os.name != "posix", reason="there are no such modes")
@pytest.mark.parametrize(("mode", "code"), [(0o666, 1), (0o640, 1), (0o600, 0)])
def test_doctor_warns_once_of_a_database_that_others_may_open(run: Run, mode: int, code: int) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        file = Path(folder, "my items.db")
        settings = {"DDB_MCP_LOCAL_PATH": str(file)}
        assert run("call", "put", json.dumps({"item": {"pk": OWN, "sk": "a"}}), **settings).returncode == 0
        file.chmod(mode)
        for read_only in ("false", "true"):
            done = run("doctor", DDB_MCP_READ_ONLY=read_only, **settings)
            assert done.returncode == code
            assert done.stdout.count(f"chmod 600 '{file}'") == code


def test_doctor_says_what_to_fix_in_a_store_that_fails(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("this is no database, and it is more than a few bytes long" * 20)
    done = run("doctor", DDB_MCP_LOCAL_PATH=str(tmp_path / "data"))
    assert done.returncode == 1
    assert re.search(r"^  info +misconfigured, \d+ ms$", done.stdout, re.MULTILINE)
    assert "DDB_MCP_LOCAL_PATH" in done.stdout.partition("\nFix this\n")[2]


@needs_permissions
@pytest.mark.parametrize(("words", "code"), [(["doctor"], 1), (["doctor", "--read-only"], 0)])
def test_doctor_says_that_nothing_could_be_written(
    environment: dict[str, str], tmp_path: Path, words: list[str], code: int
) -> None:
    settings = {**environment, "DDB_MCP_LOCAL_PATH": str(tmp_path / "closed" / "new" / "items.db")}
    (tmp_path / "closed").mkdir()
    with permissions(tmp_path / "closed", 0o500):
        done = subprocess.run(
            [DDB_MCP, *words], env=settings, preexec_fn=lower_privileges, capture_output=True, text=True, timeout=300
        )
    assert done.returncode == code
    assert ("not writable" in done.stdout.partition("\nFix this\n")[2]) == (code == 1)


def test_doctor_lists_what_was_given_where_that_is_no_configuration(run: Run) -> None:
    done = run(
        *("doctor", "--mode", "platform"),
        DDB_MCP_MODE="local",
        DDB_MCP_AUTH_TOKEN=SECRET,
        DDB_MCP_AUTH_COMMAND=f"login --password {SECRET}",
    )
    assert done.returncode == 2
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["DDB_MCP_MODE", "platform", "flag"] in lines
    assert ["DDB_MCP_MODE", "local", "environment"] in lines
    assert ["DDB_MCP_AUTH_TOKEN", "set,", "not", "shown", "environment"] in lines
    assert "DDB_MCP_API_URL" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    misspelt = run("doctor", DDB_MCP_AUTH_TOKNE=SECRET)
    assert "DDB_MCP_AUTH_TOKNE" in misspelt.stdout
    assert SECRET not in misspelt.stdout + misspelt.stderr


def test_doctor_says_what_looks_like_a_setting_and_is_none(run: Run) -> None:
    done = run("doctor", DYNAMO_TABLE=SECRET, API_URL="https://app.example", DYNAMODB_REGION="eu-west-1")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "DYNAMO_TABLE set, not shown not a setting of ddb-mcp. Did you mean DYNAMODB_TABLE?" in lines
    assert len([line for line in lines if "API_URL is ignored, because AUTH_TOKEN is not set" in line]) == 1
    assert "DYNAMODB_REGION" not in done.stdout
    assert SECRET not in done.stdout

    refused = run("doctor", DDB_MCP_TABEL=SECRET, DYNAMO_TABLE=SECRET)
    assert refused.returncode == 2
    for name in ("DDB_MCP_TABEL", "DYNAMO_TABLE"):
        assert re.search(rf"^  {name} .*Did you mean DYNAMODB_TABLE\?$", refused.stdout, re.MULTILINE)
    assert SECRET not in refused.stdout + refused.stderr


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize(
    "settings",
    [
        {"DDB_MCP_API_URL": "http://127.0.0.1:{port}", "DDB_MCP_AUTH_TOKEN": SECRET},
        {"API_URL": "http://127.0.0.1:{port}", "AUTH_TOKEN": SECRET},
        {"DDB_MCP_MODE": "platform", "DDB_MCP_AUTH_COMMAND": f"/no/such/program --password {SECRET}"},
        {
            "DYNAMODB_TABLE": "app",
            "DYNAMODB_PREFIX": "deploy#a",
            "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:{port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_SESSION_TOKEN": SECRET,
        },
        {
            "DYNAMODB_TABLE": "app",
            "DYNAMODB_PREFIX": "deploy#a",
            "AWS_ENDPOINT_URL_DYNAMODB": f"http://user:{SECRET}@127.0.0.1:{{port}}/?sig={SECRET}",
            "AWS_ENDPOINT_URL": f"user:{SECRET}/{SECRET}@127.0.0.1:{{port}}",
            "AWS_ENDPOINT_URL_STS": f"http://user:{SECRET}#{SECRET}@127.0.0.1:{{port}}",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{{port}}/creds?mail=a@{SECRET}",
            "AWS_DEFAULT_REGION": "us-east-1",
        },
    ],
    ids=["token", "the platform's own names", "command", "aws", "in AWS's addresses"],
)
def test_doctor_shows_no_secret_and_ends_with_1(run: Run, settings: dict[str, str]) -> None:
    port = str(_closed_port())
    done = run("doctor", DDB_MCP_HTTP_TOKEN=SECRET, **{k: v.replace("{port}", port) for k, v in settings.items()})
    assert done.returncode == 1
    assert SECRET not in done.stdout + done.stderr
    for name in settings:
        assert name in done.stdout
    assert done.stdout.partition("\nFix this\n")[2].strip()


def test_doctor_shows_no_secret_of_an_address_that_is_none(run: Run) -> None:
    address = f"http://user:{SECRET}@127.0.0.1/?key={SECRET}"
    done = run("doctor", DDB_MCP_API_URL=address, DDB_MCP_AUTH_TOKEN="t")
    assert done.returncode == 2
    assert SECRET not in done.stdout + done.stderr
    assert "DDB_MCP_API_URL" in done.stdout
    assert "DDB_MCP_API_URL" in done.stderr


def test_doctor_before_and_after_provision_in_direct_mode(run: Run, dynoxide: Engine) -> None:
    settings = {
        "DYNAMODB_TABLE": "doctor",
        "DYNAMODB_PREFIX": "deploy#a",
        "AWS_ENDPOINT_URL_DYNAMODB": dynoxide.endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    before = run("doctor", **settings)
    assert before.returncode == 1
    assert "ddb-mcp call provision" in before.stdout.partition("\nFix this\n")[2]
    assert json.loads(run("call", "provision", **settings).stdout)["created"] is True
    after = run("doctor", **settings)
    assert (after.returncode, after.stderr) == (0, "")
    assert re.search(r"^  AWS_ENDPOINT_URL_DYNAMODB +http\S+ +environment$", after.stdout, re.MULTILINE)


# ddb-mcp policy


def test_policy_is_for_the_table_and_the_prefix(run: Run) -> None:
    done = run("policy", "--dynamodb-table", "app", "--dynamodb-prefix", "deploy#a")
    assert done.returncode == 0
    statements = {statement["Sid"]: statement for statement in json.loads(done.stdout)["Statement"]}
    condition = statements["OwnItems"]["Condition"]["ForAllValues:StringLike"]
    assert condition == {"dynamodb:LeadingKeys": ["deploy#a#*"]}
    assert all(":table/app" in json.dumps(statement["Resource"]) for statement in statements.values())


@pytest.mark.parametrize("mode", ["local", "platform"])
def test_policy_is_refused_where_there_is_no_aws(run: Run, mode: str) -> None:
    done = run("policy", DDB_MCP_MODE=mode, DDB_MCP_API_URL="https://platform.example", DDB_MCP_AUTH_TOKEN="t")
    assert (done.returncode, done.stdout) == (2, "")
    assert "DYNAMODB_TABLE" in done.stderr


# ddb-mcp skill


def test_skill_prints_what_the_server_publishes(run: Run) -> None:
    done = run("skill")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("---\nname: dynamodb-database\n")
    assert "{{include" not in done.stdout
    assert "sandbox relay_url" in done.stdout  # of auth.md


# Serving, as hosts start it


def _serve(command: list[str], environment: dict[str, str]) -> tuple[list[dict[str, Any]], str]:
    """A short conversation over stdio: every line that the server wrote, parsed, and its stderr."""
    with Wire(command, environment) as wire:
        said = [wire.ask("initialize", _HANDSHAKE, "handshake")]
        wire.send("notifications/initialized")
        said.append(wire.call("put", 1, item={"pk": OWN, "sk": "漢", "text": "✓ é \r\n"}))
        said.append(wire.call("get", 2, pk=OWN, sk="漢"))
        assert said[-1]["result"]["structuredContent"]["item"]["text"] == "✓ é \r\n"
        said.append(wire.call("get", 3, pk="deploy#other#a", sk="漢"))
        assert said[-1]["result"]["isError"]
        wire.end_input()
        said += wire.rest()
        assert wire.wait() == 0
    return said, wire.errors


_HANDSHAKE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING"])
def test_stdout_is_the_protocols_at_any_log_level(environment: dict[str, str], level: str) -> None:
    said, errors = _serve([DDB_MCP, "--log-level", level], environment)
    assert [message["id"] for message in said] == ["handshake", 1, 2, 3]
    assert ("INFO ddb_mcp: Serving in local mode" in errors) == (level != "WARNING")
    assert "✓" not in errors, "an item's content was logged"


def test_a_quiet_server_writes_nothing_to_stderr(environment: dict[str, str]) -> None:
    assert _serve([DDB_MCP], environment)[1] == ""


@pytest.mark.parametrize(
    "settings",
    [
        ASCII,
        pytest.param({"PYTHONIOENCODING": "utf-16"}, id="another encoding"),
        pytest.param({"DDB_MCP_LOCAL_PATH": "{tmp}/with space/ünï 漢/a b?#%.db"}, id="odd path"),
        pytest.param({"DDB_MCP_LOCAL_PATH": "~/here.db"}, id="path with ~"),
        pytest.param({f"VARIABLE_{n}": "x" * 10_000 for n in range(100)}, id="huge environment"),
        pytest.param({"DDB_MCP_MODE": "", "DYNAMODB_TABLE": "", "DDB_MCP_LOCAL_PATH": ""}, id="empty variables"),
        pytest.param({"HOME": "/no/such/place"}, id="no home"),
        pytest.param({"TZ": "Nowhere/Land", "LANG": "xx_YY.ISO-8859-99"}, id="unknown locale"),
    ],
)
def test_it_serves_in_an_odd_environment(environment: dict[str, str], tmp_path: Path, settings: dict[str, str]) -> None:
    settings = {name: value.replace("{tmp}", str(tmp_path)) for name, value in settings.items()}
    _, errors = _serve([DDB_MCP], {**environment, **settings})
    assert errors == ""
    assert [path for path in tmp_path.rglob("*.*") if path.suffix in (".db", ".sqlite3")], "the data are elsewhere"


def test_it_serves_without_home_variables(environment: dict[str, str], tmp_path: Path) -> None:
    # `env -u` because Wire only adds to this process's environment.
    command = ["env", "-u", "HOME", "-u", "XDG_DATA_HOME", DDB_MCP]
    _serve(command, {**environment, "DDB_MCP_LOCAL_PATH": str(tmp_path / "data.db")})
    assert (tmp_path / "data.db").exists()


def test_it_serves_with_stderr_closed(environment: dict[str, str]) -> None:
    said, _ = _serve(["sh", "-c", f"exec {shlex.quote(DDB_MCP)} --log-level DEBUG 2>&-"], environment)
    assert len(said) == 4


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["", "call info", "call info -", "doctor"])
def test_standard_streams_may_be_closed(environment: dict[str, str], closed: str, words: str) -> None:
    line = f"{shlex.quote(DDB_MCP)} {words} {closed}"
    done = subprocess.run(
        ["sh", "-c", line], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )
    assert "Traceback" not in done.stderr
    loses_its_result = bool(words) and ">&-" in closed
    assert done.returncode == (1 if words.endswith("-") or loses_its_result else 0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", ["", "call info", "doctor"])
def test_what_cannot_be_written_is_one_line_on_stderr(environment: dict[str, str], words: str) -> None:
    ping = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}) + "\n"
    done = subprocess.run(
        ["sh", "-c", f"{shlex.quote(DDB_MCP)} {words} >/dev/full"],
        env=environment,
        input=ping,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "stdout" in done.stderr


def test_streams_that_do_not_block_lose_nothing(environment: dict[str, str]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        with Process([DDB_MCP], env=environment, stdin=theirs.fileno(), stdout=theirs.fileno()) as process:
            answers = ours.makefile("rb")
            item = {"pk": OWN, "sk": "a", "text": "x" * 20_000}
            calls = [("put", {"item": item}), *[("get", {"pk": OWN, "sk": "a"})] * 50]
            for number, (tool, arguments) in enumerate(calls):
                call = {"name": tool, "arguments": arguments, "_meta": ENVELOPE}
                message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call}
                ours.sendall(json.dumps(message).encode() + b"\n")
            assert {json.loads(answers.readline())["id"] for _ in calls} == set(range(51))
            ours.shutdown(socket.SHUT_WR)
            assert process.wait(300) == 0


def test_lines_may_end_as_windows_ends_them(environment: dict[str, str]) -> None:
    with Wire([DDB_MCP], environment) as wire:
        wire.send_line(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode() + b"\r")
        assert wire.receive()["id"] == 1


def test_a_home_that_cannot_be_written_says_so_in_the_call(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "share").write_text("a file where the directory should be")
    with Wire([DDB_MCP], environment) as wire:
        wire.shake_hands()
        answer = wire.call("put", item={"pk": OWN, "sk": "a"})
    error = json.loads(answer["result"]["content"][0]["text"])["error"]
    assert error["code"] == "misconfigured"
    assert "DDB_MCP_LOCAL_PATH" in error["next"]
