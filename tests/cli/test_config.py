"""Settings: which mode holds, what is half configured, and that secrets stay out of sight."""

from __future__ import annotations

import os
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from ddb_mcp.config import (
    LOCAL_PREFIX,
    LOCAL_TABLE,
    SETTINGS,
    DirectSettings,
    DirectStorage,
    LocalSettings,
    LocalStorage,
    PlatformSettings,
    resolve,
    resolve_gateway,
    resolve_http,
    resolve_local,
)
from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.core.keys import Prefix

DIRECT = {"DYNAMODB_TABLE": "table", "DYNAMODB_PREFIX": "deploy#abc123"}
PLATFORM = {"DDB_MCP_API_URL": "https://api.example", "DDB_MCP_AUTH_TOKEN": "secret-token"}
PAIR = {"API_URL": "https://pair.example", "AUTH_TOKEN": "pair-token"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory, and no platform command on the path."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    return tmp_path


def auth_file(home: Path) -> Path:
    file = home / ".rebyte.ai" / "auth.json"
    file.parent.mkdir()
    file.write_text("{}")
    return file


def auth_command(home: Path) -> Path:
    command = home / ".local" / "bin" / "rebyte-auth"
    command.parent.mkdir(parents=True)
    command.write_text("")
    return command


def platform(environment: dict[str, str], flags: dict[str, str] | None = None) -> PlatformSettings:
    found = resolve(environment, flags)
    assert isinstance(found, PlatformSettings)
    return found


def direct(environment: dict[str, str], flags: dict[str, str] | None = None) -> DirectSettings:
    found = resolve(environment, flags)
    assert isinstance(found, DirectSettings)
    return found


def local(environment: dict[str, str]) -> LocalSettings:
    found = resolve(environment)
    assert isinstance(found, LocalSettings)
    return found


def refused(environment: dict[str, str], flags: dict[str, str] | None = None) -> Misconfigured:
    with pytest.raises(Misconfigured) as caught:
        resolve(environment, flags)
    return caught.value


# Modes


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "local"),
        ({"API_URL": "https://pair.example"}, "local"),
        ({"AUTH_TOKEN": "pair-token"}, "local"),
        ({"API_URL": "https://pair.example", "AUTH_TOKEN": ""}, "local"),
        ({"DYNAMODB_PREFIX": "deploy#x"}, "local"),
        ({"DDB_MCP_LOCAL_PATH": "/tmp/x"}, "local"),
        (DIRECT, "direct"),
        ({**DIRECT, "API_URL": "https://pair.example"}, "direct"),
        (PLATFORM, "platform"),
        (PAIR, "platform"),
        ({**DIRECT, **PLATFORM}, "platform"),
        ({**DIRECT, **PAIR}, "platform"),
        ({**DIRECT, **PLATFORM, "DDB_MCP_MODE": "direct"}, "direct"),
        ({**DIRECT, **PLATFORM, "DDB_MCP_MODE": "local"}, "local"),
        ({**PAIR, "DDB_MCP_MODE": "LOCAL"}, "local"),
        ({"DDB_MCP_AUTH_TOKEN": "secret-token", "DDB_MCP_MODE": "local"}, "local"),
        ({**PLATFORM, "DDB_MCP_MODE": ""}, "platform"),
    ],
)
def test_which_mode_holds(environment: dict[str, str], mode: str) -> None:
    assert resolve(environment).mode == mode


def test_the_default_auth_file_means_platform_unless_a_table_is_set(home: Path) -> None:
    file = auth_file(home)
    assert platform({}).auth_file == file
    assert resolve(DIRECT).mode == "direct"
    assert resolve({"DDB_MCP_MODE": "local"}).mode == "local"


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({"DYNAMODB_TABLE": "table"}, "DYNAMODB_PREFIX"),
        ({"DYNAMODB_TABLE": "table", "DYNAMODB_PREFIX": ""}, "DYNAMODB_PREFIX"),
        ({"DDB_MCP_MODE": "direct"}, "DYNAMODB_TABLE"),
        ({"DDB_MCP_MODE": "direct", "DYNAMODB_PREFIX": "deploy#x"}, "DYNAMODB_TABLE"),
        ({"DDB_MCP_MODE": "direct", **PLATFORM}, "DYNAMODB_TABLE"),
        ({"DDB_MCP_AUTH_TOKEN": "secret-token"}, "DDB_MCP_API_URL"),
        ({**DIRECT, "DDB_MCP_AUTH_TOKEN": "secret-token"}, "DDB_MCP_API_URL"),
        ({"DDB_MCP_MODE": "platform"}, "DDB_MCP_API_URL"),
        ({"DDB_MCP_MODE": "platform", "DDB_MCP_AUTH_TOKEN": "secret-token"}, "DDB_MCP_API_URL"),
        ({"DDB_MCP_MODE": "platform", "API_URL": "https://pair.example"}, " AUTH_TOKEN"),
        ({"DDB_MCP_MODE": "platform", "API_URL": "https://pair.example", "AUTH_TOKEN": ""}, " AUTH_TOKEN"),
        ({"DDB_MCP_MODE": "platform", "AUTH_TOKEN": "pair-token"}, " API_URL"),
        ({"DDB_MCP_MODE": "platform", "API_URL": "https://x.example", "DDB_MCP_AUTH_TOKEN": "x"}, "DDB_MCP_API_URL"),
        ({"DDB_MCP_API_URL": "https://api.example"}, "DDB_MCP_AUTH_TOKEN"),
        ({"DDB_MCP_API_URL": "https://api.example", "AUTH_TOKEN": "pair-token"}, "DDB_MCP_AUTH_TOKEN"),
        ({"DDB_MCP_API_URL": "https://api.example", **PAIR}, "DDB_MCP_AUTH_TOKEN"),
    ],
)
def test_a_half_configured_mode_names_what_is_missing(environment: dict[str, str], missing: str) -> None:
    error = refused(environment)
    assert missing in error.message
    assert missing in error.next
    assert "-token" not in error.message + error.next


def test_platform_settings_mean_platform(home: Path) -> None:
    file = auth_file(home).rename(home / "own.json")
    found = platform({"DDB_MCP_AUTH_FILE": str(file)})
    assert (found.auth_file, found.auth_command) == (file, "")
    assert resolve({"DDB_MCP_AUTH_COMMAND": "print-token"}).mode == "platform"
    assert resolve({"DDB_MCP_AUTH_FILE": str(file), "DYNAMODB_TABLE": "abc", "DYNAMODB_PREFIX": "a#b"}).mode == "direct"


@pytest.mark.parametrize(("command", "problem"), [("  ", "blank"), ("\t\n", "blank"), ("print 'token", "quote")])
def test_an_auth_command_that_is_none_is_refused(command: str, problem: str) -> None:
    error = refused({"DDB_MCP_API_URL": "https://api.example", "DDB_MCP_AUTH_COMMAND": command})
    assert "DDB_MCP_AUTH_COMMAND" in error.message
    assert problem in error.message


def test_an_auth_file_that_is_not_there_is_named(home: Path) -> None:
    error = refused({"DDB_MCP_MODE": "platform", "DDB_MCP_AUTH_FILE": str(home / "none.json")})
    assert "none.json" in error.message
    assert "DDB_MCP_AUTH_FILE" in error.next


def test_where_the_platforms_token_comes_from(home: Path) -> None:
    command = auth_command(home)
    file = auth_file(home)
    found = platform({"DDB_MCP_API_URL": "https://api.example"})
    assert (found.auth_token, found.auth_command, found.auth_file) == ("", str(command), file)
    found = platform({"DDB_MCP_MODE": "platform", "DDB_MCP_AUTH_COMMAND": "print token"})
    assert (found.auth_command, found.sources["DDB_MCP_AUTH_COMMAND"]) == ("print token", "environment")
    found = platform(PLATFORM)
    assert (found.api_url, found.auth_token, found.auth_command) == ("https://api.example", "secret-token", "")
    found = platform(PAIR)
    assert (found.api_url, found.auth_token) == ("https://pair.example", "pair-token")
    assert found.sources["DDB_MCP_AUTH_TOKEN"] == "environment: AUTH_TOKEN"


@pytest.mark.parametrize(
    ("environment", "flags"),
    [
        ({**PAIR, "DDB_MCP_API_URL": "https://other.example"}, {}),
        (PAIR, {"DDB_MCP_API_URL": "https://other.example"}),
    ],
)
def test_a_token_never_goes_with_an_address_that_it_did_not_come_with(
    environment: dict[str, str], flags: dict[str, str], home: Path
) -> None:
    auth_file(home)
    settings = platform(environment, flags)
    assert settings.api_url == "https://other.example"
    assert settings.auth_token == ""


@pytest.mark.skipif(sys.platform == "win32", reason="the home directory comes from elsewhere")
def test_a_user_without_a_home_is_asked_for_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def unknown(uid: int) -> None:
        raise KeyError

    # As in a container that runs under a number: mocked, because a test cannot take another user's place.
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert "DDB_MCP_LOCAL_PATH" in refused({}).next
    assert "DDB_MCP_LOCAL_PATH" in refused({"DDB_MCP_LOCAL_PATH": "~/x"}).message
    assert resolve({"DDB_MCP_LOCAL_PATH": "/x/y"}).mode == "local"
    assert resolve(DIRECT).mode == "direct"


def test_a_home_that_is_closed_to_us_has_no_auth_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    auth_file(home)
    stat = os.stat

    def closed(path: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(str(home)):
            raise PermissionError
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", closed)  # mocked, because nothing is closed to root
    assert resolve({}).mode == "local"


# The gateway, the endpoint, HTTP


def test_a_gateway_has_storage_and_no_prefix() -> None:
    found = resolve_gateway(DIRECT)
    assert isinstance(found, DirectStorage)
    assert not hasattr(found, "prefix")
    found = resolve_gateway({"DDB_MCP_LOCAL_PATH": "/data/items.sqlite3"})
    assert isinstance(found, LocalStorage)
    assert found.local_path == Path("/data/items.sqlite3")
    assert resolve_gateway({"DYNAMODB_TABLE": "app"}).table == "app"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        (PLATFORM, "DDB_MCP_MODE"),
        ({**DIRECT, "DDB_MCP_ROLE_ARN": "arn:aws:iam::123456789012:role/app"}, "DDB_MCP_ROLE_ARN"),
        ({**DIRECT, "DDB_MCP_LAMBDA_FUNCTIONS": "api"}, "DDB_MCP_LAMBDA_FUNCTIONS"),
    ],
)
def test_what_makes_no_gateway_is_refused(environment: dict[str, str], named: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        resolve_gateway(environment)
    assert named in caught.value.next


def test_what_works_on_the_local_file_alone_takes_it_whatever_the_rest_means() -> None:
    found = resolve_local({**DIRECT, "DDB_MCP_LOCAL_PATH": "/data/items.sqlite3"})
    assert (found.table, found.local_path) == ("table", Path("/data/items.sqlite3"))
    with pytest.raises(Misconfigured, match="direct"):
        resolve_local({**DIRECT, "DDB_MCP_MODE": "direct"})


def test_http_settings() -> None:
    found = resolve_http({**DIRECT, "DDB_MCP_HTTP_TOKEN": "secret-http", "DDB_MCP_HTTP_HOSTS": "a.example, b.example"})
    assert (found.http_token, found.http_hosts) == ("secret-http", ("a.example", "b.example"))
    assert "secret-http" not in repr(found)


# Values


def test_the_defaults(home: Path) -> None:
    settings = local({})
    assert (settings.table, settings.prefix) == (LOCAL_TABLE, Prefix(LOCAL_PREFIX))
    assert settings.local_path.is_relative_to(home)
    assert set(settings.sources.values()) == {"default"}
    assert (settings.read_only, settings.log_level) == (False, "WARNING")
    assert (settings.max_result_bytes, settings.read_budget) == (32_768, 100_000)


def test_each_setting_is_read(home: Path) -> None:
    values = {
        "DDB_MCP_READ_ONLY": "Yes",
        "DDB_MCP_LOG_LEVEL": "debug",
        "DDB_MCP_MAX_RESULT_BYTES": "1024",
        "DDB_MCP_READ_BUDGET": "1",
        "DDB_MCP_ROLE_ARN": "arn:aws:iam::1:role/r",
        "DDB_MCP_LAMBDA_FUNCTIONS": "a, b ,,c,",
        **DIRECT,
    }
    found = direct(values)
    assert (found.read_only, found.log_level, found.max_result_bytes, found.read_budget) == (True, "DEBUG", 1024, 1)
    assert (found.table, found.prefix, found.role_arn) == ("table", Prefix("deploy#abc123"), "arn:aws:iam::1:role/r")
    assert found.lambda_functions == ("a", "b", "c")
    assert local({"DDB_MCP_LOCAL_PATH": "~/data.sqlite3"}).local_path == home / "data.sqlite3"
    assert platform({**PLATFORM, "DDB_MCP_ALLOW_HTTP": "on"}).allow_http is True


@pytest.mark.parametrize("name", [setting.variable for setting in SETTINGS])
def test_an_empty_value_is_an_unset_one(name: str) -> None:
    assert resolve({name: ""}) == resolve({}, {name: ""}) == resolve({})


def test_flags_win_over_variables() -> None:
    settings = direct({"DDB_MCP_LOG_LEVEL": "ERROR", "DYNAMODB_TABLE": "one"}, {"DYNAMODB_TABLE": "two", **DIRECT})
    assert settings.table == "table"
    assert settings.sources["DYNAMODB_TABLE"] == "flag"
    assert settings.sources["DDB_MCP_LOG_LEVEL"] == "environment"
    assert resolve({"DDB_MCP_MODE": "direct"}, {"DDB_MCP_MODE": "local"}).mode == "local"


@pytest.mark.parametrize(
    ("name", "value", "near"),
    [
        ("DDB_MCP_MODE", "locl", "local"),
        ("DDB_MCP_MODE", "plattform", "platform"),
        ("DDB_MCP_MODE", "aws", ""),
        ("DDB_MCP_MODE", " local", "local"),
        ("DDB_MCP_READ_ONLY", "ture", "true"),
        ("DDB_MCP_READ_ONLY", "2", ""),
        ("DDB_MCP_LOG_LEVEL", "warn", "WARNING"),
        ("DDB_MCP_LOG_LEVEL", "TRACE", ""),
        ("DDB_MCP_MAX_RESULT_BYTES", "1023", "1024"),
        ("DDB_MCP_MAX_RESULT_BYTES", "32k", "1024"),
        ("DDB_MCP_MAX_RESULT_BYTES", "1e4", "1024"),
        ("DDB_MCP_READ_BUDGET", "0", "from 1"),
        ("DDB_MCP_READ_BUDGET", "-1", "from 1"),
        ("DDB_MCP_READ_BUDGET", "1_000", "from 1"),
        ("DDB_MCP_READ_BUDGET", "١", "from 1"),
        ("DDB_MCP_READ_BUDGET", "9" * 5000, "from 1"),
        ("DYNAMODB_TABLE", "ab", "3 to 255"),
        ("DYNAMODB_TABLE", "a/../b", "letters, digits"),
        ("DYNAMODB_TABLE", "table\n", "letters, digits"),
        ("DDB_MCP_ALLOW_HTTP", "maybe", ""),
    ],
)
def test_a_value_that_is_none_is_refused_with_the_nearest(name: str, value: str, near: str) -> None:
    for error in (refused({name: value}), refused({}, {name: value})):
        assert error.message.startswith(f"{name} is ")
        assert near in error.next


@pytest.mark.parametrize("text", ["deploy#", "#", " ", "\ud800"])
def test_a_prefix_that_is_none_is_refused(text: str) -> None:
    assert "DYNAMODB_PREFIX" in refused({"DYNAMODB_PREFIX": text}).next


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("DDB_MCP_READONLY", "DDB_MCP_READ_ONLY"),
        ("DDB_MCP_TOKEN", "DDB_MCP_"),
        ("DDB_MCP_mode", "DDB_MCP_MODE"),
        ("DDB_MCP_LOCALPATH", "DDB_MCP_LOCAL_PATH"),
        ("DDB_MCP_LAMBDA_FUNCTION", "DDB_MCP_LAMBDA_FUNCTIONS"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest(name: str, near: str) -> None:
    error = refused({name: "secret-token", **DIRECT})
    assert name in error.message
    assert near in error.next
    assert "secret-token" not in error.message + error.next


def test_variables_of_others_are_left_alone() -> None:
    others = {"DYNAMODB_OTHER": "x", "DYNAMODB_TABLE_NAME": "x", "AWS_REGION": "x", "MY_DDB_MCP_MODE": "x"}
    assert resolve(others).mode == "local"


# Secrets


def test_secrets_are_never_in_repr_and_have_no_flag() -> None:
    for environment in (PLATFORM, PAIR):
        settings = platform(environment)
        for shown in (repr(settings), str(settings), f"{settings}"):
            assert settings.auth_token not in shown
    assert {setting.variable for setting in SETTINGS if setting.flag is None} == {
        "DDB_MCP_AUTH_TOKEN",
        "DDB_MCP_HTTP_TOKEN",
    }


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        resolve({}).read_only = True  # type: ignore[misc]


# One list of settings


def test_each_setting_is_listed_once_with_the_modes_that_it_counts_in() -> None:
    assert len({setting.variable for setting in SETTINGS}) == len({setting.field for setting in SETTINGS})
    assert {setting.variable: setting.modes for setting in SETTINGS if setting.modes != "all"} == {
        "DYNAMODB_TABLE": "direct, local",
        "DYNAMODB_PREFIX": "direct, local",
        "DDB_MCP_LAMBDA_FUNCTIONS": "direct",
        "DDB_MCP_ROLE_ARN": "direct",
        "DDB_MCP_LOCAL_PATH": "local",
        "DDB_MCP_API_URL": "platform",
        "DDB_MCP_AUTH_TOKEN": "platform",
        "DDB_MCP_AUTH_COMMAND": "platform",
        "DDB_MCP_AUTH_FILE": "platform",
        "DDB_MCP_ALLOW_HTTP": "platform",
    }
