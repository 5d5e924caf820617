"""Settings: which mode holds, what is half configured, and that secrets stay out of sight."""

from __future__ import annotations

import os
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ddb_mcp.config.resolve import resolve_gateway, resolve_http, resolve_local, resolve_settings
from ddb_mcp.config.settings import (
    LOCAL_PREFIX,
    LOCAL_TABLE,
    SETTINGS,
    DirectSettings,
    DirectStorage,
    LocalSettings,
    LocalStorage,
    PlatformSettings,
)
from ddb_mcp.core.errors import Misconfigured
from ddb_mcp.core.keys import Prefix
from ddb_mcp.gateway.registry import make_registry_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def platform(environment: dict[str, str], flags: Mapping[str, str] = {}) -> PlatformSettings:
    found = resolve_settings(environment, flags)
    assert isinstance(found, PlatformSettings)
    return found


def direct(environment: dict[str, str], flags: Mapping[str, str] = {}) -> DirectSettings:
    found = resolve_settings(environment, flags)
    assert isinstance(found, DirectSettings)
    return found


def local(environment: dict[str, str]) -> LocalSettings:
    found = resolve_settings(environment)
    assert isinstance(found, LocalSettings)
    return found


def refused(environment: dict[str, str], flags: Mapping[str, str] = {}) -> Misconfigured:
    with pytest.raises(Misconfigured) as caught:
        resolve_settings(environment, flags)
    return caught.value


# Modes


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "local"),
        ({"API_URL": "", "AUTH_TOKEN": ""}, "local"),
        ({"API_URL": "https://pair.example", "DDB_MCP_MODE": "local"}, "local"),
        ({"API_URL": "https://pair.example", "AUTH_TOKEN": "", "DDB_MCP_MODE": "local"}, "local"),
        ({"DYNAMODB_TABLE": "", "DYNAMODB_PREFIX": ""}, "local"),
        ({"DYNAMODB_TABLE": ""}, "local"),
        ({"DYNAMODB_TABLE": "", "DYNAMODB_PREFIX": "deploy#x", "DDB_MCP_MODE": "local"}, "local"),
        ({"DYNAMODB_TABLE": "", "DYNAMODB_PREFIX": "deploy#x", **PLATFORM}, "platform"),
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
    assert resolve_settings(environment).mode == mode


def test_the_default_auth_file_means_platform_unless_a_table_is_set(home: Path) -> None:
    file = auth_file(home)
    assert platform({}).auth_file == file
    assert platform({}).sources["DDB_MCP_MODE"] == "default, because ~/.rebyte.ai/auth.json exists"
    assert resolve_settings(DIRECT).mode == "direct"
    assert resolve_settings({"DDB_MCP_MODE": "local"}).mode == "local"


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


@pytest.mark.parametrize(
    ("environment", "flags", "named"),
    [
        ({"API_URL": "https://pair.example", "AUTH_TOKEN": ""}, {}, "AUTH_TOKEN is empty"),
        ({"API_URL": "", "AUTH_TOKEN": "pair-token"}, {}, "API_URL is empty"),
        ({**DIRECT, "API_URL": "https://pair.example", "AUTH_TOKEN": ""}, {}, "AUTH_TOKEN is empty"),
        ({"DYNAMODB_TABLE": "", "DYNAMODB_PREFIX": "deploy#x"}, {}, "DYNAMODB_TABLE is empty"),
        ({"DYNAMODB_PREFIX": "deploy#x"}, {"DYNAMODB_TABLE": ""}, "DYNAMODB_TABLE is empty"),
        ({"DDB_MCP_ROLE_ARN": "arn:aws:iam::123456789012:role/app"}, {}, "DDB_MCP_ROLE_ARN applies to direct mode"),
        ({"DDB_MCP_LAMBDA_FUNCTIONS": "api"}, {}, "DDB_MCP_LAMBDA_FUNCTIONS applies to direct mode"),
        ({"DDB_MCP_ALLOW_HTTP": "1"}, {}, "DDB_MCP_ALLOW_HTTP applies to platform mode"),
    ],
)
def test_half_of_another_mode_is_never_silently_the_local_file(
    environment: dict[str, str], flags: dict[str, str], named: str
) -> None:
    error = refused(environment, flags)
    assert named in error.message
    assert "DDB_MCP_MODE=local" in error.next
    assert "-token" not in error.message + error.next
    explicit = {**environment, "DDB_MCP_MODE": "local"}
    assert resolve_settings(explicit, flags).mode == "local"


@pytest.mark.parametrize(("name", "other"), [("API_URL", "AUTH_TOKEN"), ("AUTH_TOKEN", "API_URL")])
@pytest.mark.parametrize(("environment", "mode"), [({}, "local"), (DIRECT, "direct")])
def test_one_of_the_pair_alone_is_ignored_with_a_warning(
    environment: dict[str, str], mode: str, name: str, other: str
) -> None:
    found = resolve_settings({**environment, name: PAIR[name]})
    assert found.mode == mode
    (warning,) = found.warnings
    assert f"{name} is ignored, because {other} is not set" in warning
    assert "pair-token" not in warning
    explicit = resolve_settings({**environment, name: PAIR[name], "DDB_MCP_MODE": mode})
    assert explicit.warnings == resolve_settings({**PLATFORM, name: PAIR[name]}).warnings == ()


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, "default, because nothing selects another mode"),
        (DIRECT, "default, because DYNAMODB_TABLE is set"),
        (PLATFORM, "default, because DDB_MCP_API_URL is set"),
        (PAIR, "default, because API_URL and AUTH_TOKEN are set"),
        ({"DDB_MCP_AUTH_COMMAND": "print-token"}, "default, because DDB_MCP_AUTH_COMMAND is set"),
        ({**PAIR, "DDB_MCP_MODE": "local"}, "environment"),
    ],
)
def test_the_sources_say_why_a_mode_was_chosen(environment: dict[str, str], reason: str) -> None:
    assert resolve_settings(environment).sources["DDB_MCP_MODE"] == reason


def test_platform_settings_mean_platform(home: Path) -> None:
    file = auth_file(home).rename(home / "own.json")
    found = platform({"DDB_MCP_AUTH_FILE": str(file)})
    assert (found.auth_file, found.auth_command) == (file, "")
    assert resolve_settings({"DDB_MCP_AUTH_COMMAND": "print-token"}).mode == "platform"
    assert (
        resolve_settings({"DDB_MCP_AUTH_FILE": str(file), "DYNAMODB_TABLE": "abc", "DYNAMODB_PREFIX": "a#b"}).mode
        == "direct"
    )


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
    assert resolve_settings({"DDB_MCP_LOCAL_PATH": "/x/y"}).mode == "local"
    assert resolve_settings(DIRECT).mode == "direct"


def test_a_home_that_is_closed_to_us_has_no_auth_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    auth_file(home)
    stat = os.stat

    def closed(path: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(str(home)):
            raise PermissionError
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", closed)  # mocked, because nothing is closed to root
    assert resolve_settings({}).mode == "local"


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
        ({**DIRECT, "DDB_MCP_SHARED_INDEXES": "*"}, "DDB_MCP_SHARED_INDEXES"),
        ({"DDB_MCP_SHARED_INDEXES": "GSI1"}, "DDB_MCP_SHARED_INDEXES"),
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


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("GSI1", "not of the form"),
        ("GSI1=", "not of the form"),
        ("GSI1=a,b,c", "not of the form"),
        ("GSI1=a:X", "not a key type"),
        ("G=a", "3 to 255"),
        ("my index=a", "3 to 255"),
        ("GSI1=a; GSI1=b", "twice"),
        ("GSI1=a,a", "both keys"),
        ("GSI1=a; GSI2=a:N", "two types"),
        ("GSI1=pk:N", "two types"),
        ("; ".join(f"index{at}=a" for at in range(21)), "at most 20"),
    ],
)
def test_index_definitions_that_are_refused(text: str, reason: str) -> None:
    for resolve in (resolve_settings, resolve_gateway):
        with pytest.raises(Misconfigured, match=reason) as caught:
            resolve({**DIRECT, "DDB_MCP_INDEXES": text})
        assert caught.value.message.startswith("DDB_MCP_INDEXES")
        assert "GSI1=GSI1PK,GSI1SK" in str(caught.value.next)


def test_a_gateway_takes_index_definitions() -> None:
    environment = {**DIRECT, "DDB_MCP_INDEXES": "GSI1=GSI1PK,GSI1SK; byScore=GSI1PK,score:N"}
    for more in ({}, {"DDB_MCP_MODE": "local"}):
        settings = resolve_gateway({**environment, **more})
        assert [index.name for index in settings.indexes] == ["GSI1", "byScore"]
        assert make_registry_settings(settings).indexes == ()


def test_http_settings() -> None:
    found = resolve_http({**DIRECT, "DDB_MCP_HTTP_TOKEN": "secret-http", "DDB_MCP_HTTP_HOSTS": "a.example, b.example"})
    assert (found.http_token, found.http_hosts) == ("secret-http", ("a.example", "b.example"))
    assert "secret-http" not in repr(found)


# Values


def test_the_defaults(home: Path) -> None:
    settings = local({})
    assert (settings.table, settings.prefix) == (LOCAL_TABLE, Prefix(LOCAL_PREFIX))
    assert settings.local_path.is_relative_to(home)
    assert {source.partition(",")[0] for source in settings.sources.values()} == {"default"}
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
    assert resolve_settings({name: ""}) == resolve_settings({}, {name: ""}) == resolve_settings({})


def test_flags_win_over_variables() -> None:
    settings = direct({"DDB_MCP_LOG_LEVEL": "ERROR", "DYNAMODB_TABLE": "one"}, {"DYNAMODB_TABLE": "two", **DIRECT})
    assert settings.table == "table"
    assert settings.sources["DYNAMODB_TABLE"] == "flag"
    assert settings.sources["DDB_MCP_LOG_LEVEL"] == "environment"
    assert resolve_settings({"DDB_MCP_MODE": "direct"}, {"DDB_MCP_MODE": "local"}).mode == "local"


@pytest.mark.parametrize(
    ("name", "value", "near"),
    [
        ("DDB_MCP_MODE", "locl", "local"),
        ("DDB_MCP_MODE", "plattform", "platform"),
        ("DDB_MCP_MODE", "aws", ""),
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
        ("DYNAMODB_TABLE", "arn:aws:dynamodb:us-east-1:123456789012:table/app", "Write the name alone: app"),
        ("DDB_MCP_HTTP_HOSTS", '["a.example"]', "commas"),
        ("DDB_MCP_ALLOW_HTTP", "maybe", ""),
    ],
)
def test_a_value_that_is_none_is_refused_with_the_nearest(name: str, value: str, near: str) -> None:
    for error in (refused({name: value}), refused({}, {name: value})):
        assert error.message.startswith(f"{name} is ")
        assert near in error.next
        assert len(error.message) < 300


@pytest.mark.parametrize("text", ["deploy", "deploy#", "#", "\ud800"])
def test_a_prefix_that_is_none_is_refused_with_what_loaders_do_to_a_hash(text: str) -> None:
    for error in (refused({"DYNAMODB_PREFIX": text}), refused({}, {"DYNAMODB_PREFIX": text})):
        assert "DYNAMODB_PREFIX" in error.next
        assert "an unquoted # begins a comment" in error.next


# Values as hosts, loaders and shells leave them: the kind, the variable, its value, what the error says.

UNEXPANDED = [
    ("DYNAMODB_TABLE", "${TABLE}", "'${TABLE}'"),
    ("DYNAMODB_PREFIX", "deploy#$DEPLOYMENT", "'$DEPLOYMENT'"),
    ("DYNAMODB_PREFIX", "deploy#${env:DEPLOYMENT}", "'${env:DEPLOYMENT}'"),
    ("DDB_MCP_LOCAL_PATH", "%APPDATA%\\ddb\\items.sqlite3", "'%APPDATA%'"),
    ("DYNAMODB_PREFIX", "%P%", "'%P%'"),
    ("DYNAMODB_PREFIX", "deploy#%ID%", "'%ID%'"),
    ("DDB_MCP_LOCAL_PATH", "$HOME/items.sqlite3", "'$HOME'"),
    ("DDB_MCP_AUTH_TOKEN", "${API_TOKEN}", "'${API_TOKEN}'"),
    ("DDB_MCP_AUTH_TOKEN", "$API_TOKEN", "'$API_TOKEN'"),
    ("DDB_MCP_HTTP_TOKEN", "{{secrets.TOKEN}}", "a name"),
    ("DDB_MCP_API_URL", "https://$PLATFORM/v1", "'$PLATFORM'"),
    ("DDB_MCP_READ_ONLY", "${user_config.read_only}", "'${user_config.read_only}'"),
    ("DDB_MCP_AUTH_COMMAND", "$HOME/bin/login --json", "'$HOME/bin/login'"),
    ("DDB_MCP_LAMBDA_FUNCTIONS", "api,${WORKER}", "'${WORKER}'"),
]
QUOTED = [
    ("DYNAMODB_PREFIX", "'deploy#abc123'", "Write: deploy#abc123"),
    ("DYNAMODB_TABLE", '"app-data"', "Write: app-data"),
    ("DDB_MCP_MODE", "“local”", "Write: local"),
    ("DDB_MCP_LOCAL_PATH", "'/data/items.sqlite3'", "Write: /data/items.sqlite3"),
    ("DDB_MCP_AUTH_TOKEN", '"secret-token"', "Remove the quotes"),
    ("DDB_MCP_READ_ONLY", '"true', "Write: true"),
]
SPACED = [
    ("DYNAMODB_PREFIX", "deploy#abc123 ", "Write: deploy#abc123"),
    ("DYNAMODB_TABLE", "\tapp-data", "Write: app-data"),
    ("DDB_MCP_MODE", " local", "Write: local"),
    ("DDB_MCP_LOCAL_PATH", "\ufeff/data/items.sqlite3", "Write: /data/items.sqlite3"),
    ("DDB_MCP_AUTH_TOKEN", "secret-token\n", "Remove the white space"),
    ("DDB_MCP_AUTH_COMMAND", "print-token ", "Remove the white space"),
    ("DYNAMODB_TABLE", "  ", "blank"),
]
WINDOWS_LINE_ENDS = [
    ("DYNAMODB_PREFIX", "deploy#abc123\r", "Write: deploy#abc123"),
    ("DDB_MCP_READ_ONLY", "true\r\n", "Write: true"),
    ("DDB_MCP_AUTH_TOKEN", "secret-token\r", "LF line endings"),
    ("DDB_MCP_AUTH_COMMAND", "print-token\r", "LF line endings"),
]
CONTROL_CHARACTERS = [
    ("DYNAMODB_PREFIX", "deploy#abc\x1b123", "'\\x1b'"),
    ("DDB_MCP_LOCAL_PATH", "/data/a\nb", "'\\n'"),
    ("DDB_MCP_AUTH_TOKEN", "secret-\x7ftoken", "control character"),
    ("DDB_MCP_HTTP_HOSTS", "a.example,\x00b.example", "'\\x00'"),
]
COMMENTS = [
    ("DDB_MCP_READ_ONLY", "true # for now", "Write: true"),
    ("DYNAMODB_PREFIX", "deploy#abc123 # mine", "Write: deploy#abc123"),
    ("DDB_MCP_MODE", "local #", "Write: local"),
]
PATHS_THAT_ARE_NONE = [
    ("DDB_MCP_LOCAL_PATH", "items.sqlite3", f"Write the full path, for example {Path.cwd() / 'items.sqlite3'}"),
    ("DDB_MCP_LOCAL_PATH", "./data/items.sqlite3", "relative path"),
    ("DDB_MCP_LOCAL_PATH", "../items.sqlite3", "relative path"),
    ("DDB_MCP_LOCAL_PATH", ":memory:", "relative path"),
    ("DDB_MCP_AUTH_FILE", "auth.json", "relative path"),
    ("DDB_MCP_LOCAL_PATH", "C:\\data\\items.sqlite3", "another operating system"),
    ("DDB_MCP_LOCAL_PATH", "c:/data/items.sqlite3", "another operating system"),
    ("DDB_MCP_LOCAL_PATH", "\\\\server\\share\\items.sqlite3", "another operating system"),
    ("DDB_MCP_AUTH_FILE", "~\\auth.json", "another operating system"),
    ("DDB_MCP_LOCAL_PATH", "file:///data/items.sqlite3", "Write: /data/items.sqlite3"),
    ("DDB_MCP_LOCAL_PATH", "file:/data/items.sqlite3", "Write: /data/items.sqlite3"),
    ("DDB_MCP_LOCAL_PATH", "sqlite:///data/items.sqlite3", "is a URL"),
    ("DDB_MCP_AUTH_FILE", "https://platform.example/auth.json", "is a URL"),
]
ADDRESSES_WITH_THE_APIS_PATH = [
    ("DDB_MCP_API_URL", "https://api.example/api/data/dynamodb", "Write: https://api.example"),
    ("DDB_MCP_API_URL", "https://api.example/v1/api/data/dynamodb/", "Write: https://api.example/v1"),
    ("DDB_MCP_API_URL", "https://api.example/api/data/dynamodb/info", "Write: https://api.example"),
]
KINDS = {
    "unexpanded": UNEXPANDED,
    "quoted": QUOTED,
    "white space around": SPACED,
    "Windows line endings": WINDOWS_LINE_ENDS,
    "control characters": CONTROL_CHARACTERS,
    "comment kept": COMMENTS,
    "no path of this system": PATHS_THAT_ARE_NONE,
    "address with the API's path": ADDRESSES_WITH_THE_APIS_PATH,
}


@pytest.mark.skipif(os.name == "nt", reason="the paths are those for another operating system there")
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        pytest.param(*case, id=f"{kind}: {case[0]}-{at}")
        for kind, cases in KINDS.items()
        for at, case in enumerate(cases)
    ],
)
def test_a_value_that_a_loader_has_left_is_refused_with_what_to_write(name: str, value: str, said: str) -> None:
    for error in (refused({name: value}), refused({}, {name: value})):
        assert name in error.message
        assert said in f"{error.message} {error.next}"
        assert "secret" not in f"{error.message} {error.next}".replace("secret-http", "")


def test_the_platforms_own_names_are_named(home: Path) -> None:
    assert refused({**PAIR, "AUTH_TOKEN": "'pair-token'"}).message.startswith("AUTH_TOKEN has quotes")
    assert refused({**PAIR, "API_URL": "${URL}"}).message.startswith("API_URL holds '${URL}'")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_REGION", "${REGION}", "'${REGION}'"),
        ("AWS_DEFAULT_REGION", "us-east-1 ", "Write: us-east-1"),
        ("AWS_PROFILE", "'work'", "Write: work"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:8000\r", "Windows line endings"),
        ("AWS_SECRET_ACCESS_KEY", '"secret-key"', "Remove the quotes"),
        ("AWS_CONFIG_FILE", "$HOME/.aws/config", "'$HOME'"),
    ],
)
def test_awss_own_variables_are_checked_where_they_are_read(name: str, value: str, said: str) -> None:
    error = refused({**DIRECT, name: value})
    assert error.message.startswith(f"{name} ")
    assert said in f"{error.message} {error.next}"
    assert "secret-key" not in error.message + error.next
    assert resolve_settings({name: value}).mode == "local"
    with pytest.raises(Misconfigured, match=name):
        resolve_gateway({"DYNAMODB_TABLE": "table", name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DDB_MCP_AUTH_TOKEN", "a$b%c%d#e"),
        ("DDB_MCP_AUTH_COMMAND", "sh -c 'echo $TOKEN # now'"),
        ("DDB_MCP_AUTH_COMMAND", '"/opt/my tools/login" --json'),
        ("DDB_MCP_LOCAL_PATH", "/data/with space/ünï 漢/a b?#%.db"),
        ("DDB_MCP_LOCAL_PATH", "/data/50%/100%/x"),
        ("DDB_MCP_API_URL", "https://api.example/a%20b%20c"),
        ("DDB_MCP_API_URL", "https://api.example/a%C3%A9"),
        ("DYNAMODB_PREFIX", "deploy#a b"),
    ],
)
def test_what_only_looks_like_a_loaders_mistake_is_taken(name: str, value: str) -> None:
    resolve_settings({**PLATFORM, name: value})


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("DDB_MCP_READONLY", "DDB_MCP_READ_ONLY"),
        ("DDB_MCP_TOKEN", "DDB_MCP_"),
        ("DDB_MCP_mode", "DDB_MCP_MODE"),
        ("DDB_MCP_LOCALPATH", "DDB_MCP_LOCAL_PATH"),
        ("DDB_MCP_LAMBDA_FUNCTION", "DDB_MCP_LAMBDA_FUNCTIONS"),
        ("DDB_MCP_PREFIX", "DYNAMODB_PREFIX"),
        ("DDB_MCP_TABLE", "DYNAMODB_TABLE"),
        ("DDB-MCP-READONLY", "DDB_MCP_READ_ONLY"),
        ("ddb_mcp_read_only", "DDB_MCP_READ_ONLY"),
        ("Ddb_Mcp_Local_Path", "DDB_MCP_LOCAL_PATH"),
        ("DDBMCP_MODE", "DDB_MCP_MODE"),
        ("DDB_MCP_DYNAMODB_PREFIX", "DYNAMODB_PREFIX"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest(name: str, near: str) -> None:
    error = refused({name: "secret-token", **DIRECT})
    assert name in error.message
    assert near in error.next
    assert "secret-token" not in error.message + error.next


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("DYNAMODB_PREFX", "DYNAMODB_PREFIX"),
        ("DYNAMODB_TABEL", "DYNAMODB_TABLE"),
        ("DYNAMODB-PREFIX", "DYNAMODB_PREFIX"),
        ("dynamodb_table", "DYNAMODB_TABLE"),
    ],
)
def test_a_name_near_to_dynamodbs_is_refused_unless_the_right_one_is_there(name: str, near: str) -> None:
    assert near in refused({name: "x"}).next
    assert resolve_settings({**DIRECT, name: "x"}).mode == "direct"


@pytest.mark.parametrize("name", ["DDB_MCP_", "DDB_MCP_XYZZY", "DDB_MCP_FAVOURITE_COLOUR", "DDB-MCP-Q"])
def test_nothing_is_suggested_where_nothing_is_near(name: str) -> None:
    error = refused({name: "x", **DIRECT})
    assert name in error.message
    assert "Did you mean" not in error.next


def test_variables_of_others_are_left_alone() -> None:
    others = {"DYNAMODB_OTHER": "x", "DYNAMODB_TABLE_NAME": "x", "AWS_REGION": "x", "MY_DDB_MCP_MODE": "x"}
    assert resolve_settings(others).mode == "local"


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
        resolve_settings({}).read_only = True  # type: ignore[misc]


# One list of settings


def test_each_setting_is_listed_once_with_the_modes_that_it_counts_in() -> None:
    assert len({setting.variable for setting in SETTINGS}) == len({setting.field for setting in SETTINGS})
    assert {setting.variable: setting.modes for setting in SETTINGS if setting.modes != "all"} == {
        "DYNAMODB_TABLE": "direct, local",
        "DYNAMODB_PREFIX": "direct, local",
        "DDB_MCP_LAMBDA_FUNCTIONS": "direct",
        "DDB_MCP_ROLE_ARN": "direct",
        "DDB_MCP_INDEXES": "direct, local",
        "DDB_MCP_SHARED_INDEXES": "direct, local",
        "DDB_MCP_LOCAL_PATH": "local",
        "DDB_MCP_API_URL": "platform",
        "DDB_MCP_AUTH_TOKEN": "platform",
        "DDB_MCP_AUTH_COMMAND": "platform",
        "DDB_MCP_AUTH_FILE": "platform",
        "DDB_MCP_ALLOW_HTTP": "platform",
    }
