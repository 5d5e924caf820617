"""Reads a platform's address and token from the environment, a command, or a file.

A token goes only to the address that its own source gave, or that was configured together with it. Nothing here ever
puts a token, or what a command printed, into an exception or a log.
"""

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio

from ddb_mcp.config.settings import PlatformSettings
from ddb_mcp.config.values import is_http_url, is_loopback
from ddb_mcp.core.errors import Misconfigured, Unauthenticated

AUTH_COMMAND_SECONDS = 20
AUTH_COMMAND_MAX_BYTES = 65_536


PATH = "/api/data/dynamodb"
"""The path of the API under the platform's address."""
_SCHEME = re.compile(r"bearer\b[ :]", re.I)
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_TOKEN_NAMES = ("token", "access_token", "accessToken", "auth_token", "AUTH_TOKEN")
_URL_NAMES = ("relay_url", "api_url", "apiUrl", "url", "API_URL")


@dataclass(frozen=True)
class Credentials:
    """A token and the one address it may go to.

    Attributes:
        url: the platform's address without a slash at its end.
        source: what a person has to renew, by its name.
    """

    url: str
    token: str = field(repr=False)
    source: str

    @property
    def origin(self) -> str:
        """Return scheme, host and port."""
        return get_origin(self.url)


class CredentialSource:
    """The credentials of a platform, read when they are first needed and again when the platform refuses them.

    Safe for concurrent use: of several calls that meet one expired token, one reads the source again.

    Raises:
        Misconfigured: the address in the settings is one that no token may go to.
    """

    def __init__(self, settings: PlatformSettings) -> None:
        if settings.api_url:
            check_url(settings.api_url, allow_http=settings.allow_http)
        self._settings = settings
        self._current: Credentials | None = None
        self._lock = anyio.Lock()

    async def get(self) -> Credentials:
        """Return the credentials.

        Raises:
            Misconfigured: the source cannot be read, has no token, or its address is one that no token may go to.
            Unauthenticated: the command fails or gives nothing in time.
        """
        return self._current or await self.renew(None)

    async def renew(self, refused: Credentials | None) -> Credentials:
        """Return the credentials after the platform refused `refused`. Concurrent calls read the source again once.

        Raises:
            Misconfigured, Unauthenticated: as `get` does.
        """
        async with self._lock:
            if self._current is refused or self._current is None:
                self._current = await self._read()
            return self._current

    async def _read(self) -> Credentials:
        settings = self._settings
        if settings.auth_token:
            source = settings.sources.get("DDB_MCP_AUTH_TOKEN", "").partition(": ")[2]  # "environment: AUTH_TOKEN"
            return self._checked(settings.api_url, settings.auth_token, source or "DDB_MCP_AUTH_TOKEN")
        if settings.auth_command:
            return await self._from_command(settings.auth_command)
        source = f"the file {settings.auth_file}"
        token, url = _token_and_url(_read_document(settings.auth_file))
        return self._checked(self._address(url, source), token, source)

    async def _from_command(self, command: str) -> Credentials:
        is_set = self._settings.sources.get("DDB_MCP_AUTH_COMMAND", "default") != "default"
        source = "the command in DDB_MCP_AUTH_COMMAND" if is_set else f"the command {Path(command).name}"
        output = await _run_command(shlex.split(command, posix=os.name == "posix") if is_set else [command], source)
        try:
            document = json.loads(output) if output.startswith(("{", '"')) else output
        except (ValueError, RecursionError):
            document = {}
        token, url = _token_and_url({"token": document} if isinstance(document, str) else document)
        if url is None and not is_set and self._settings.auth_file.exists():
            # The platform installs its command and its file together: the command's token is for the file's address.
            url = _token_and_url(_read_document(self._settings.auth_file))[1]
        return self._checked(self._address(url, source), token, source)

    def _address(self, own: str | None, source: str) -> str | None:
        configured = self._settings.api_url
        if own and configured and get_origin(own) != get_origin(configured):
            raise Misconfigured(
                f"The token of {source} is for {get_origin(own)}, and DDB_MCP_API_URL is {get_origin(configured)}.",
                next="Unset DDB_MCP_API_URL, or set DDB_MCP_AUTH_TOKEN together with it: a token only goes to its own "
                "address.",
            )
        return configured or own

    def _checked(self, url: str | None, token: str | None, source: str) -> Credentials:
        if not token or not _TOKEN.fullmatch(token):
            what = "is not one line of visible ASCII" if token else "is missing"
            advice = f"Correct {source}."
            if token and _SCHEME.match(token):
                what, advice = "begins with the word Bearer", f"{advice} Write the token alone; ddb-mcp adds the word."
            raise Misconfigured(f"The token of {source} {what}.", next=advice)
        if not url:
            raise Misconfigured(f"{source} returns a token without an address.", next="Set DDB_MCP_API_URL.")
        return Credentials(check_url(url, allow_http=self._settings.allow_http), token, source)


def get_origin(url: str) -> str:
    """Return scheme, host and port of a URL. Raises Misconfigured if it is not an HTTP URL."""
    if not is_http_url(url):
        raise _bad_url("is not an http:// or https:// URL")
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{parts.hostname}:{port}"


def check_url(url: str, *, allow_http: bool) -> str:
    """Return the URL without a trailing slash. Raises Misconfigured if no token may be sent there."""
    get_origin(url)
    parts = urlsplit(url)
    if not parts.hostname or re.search(r"[^\x21-\x7e]", url):
        raise _bad_url("is not an http:// or https:// URL")
    if PATH in parts.path:
        raise Misconfigured(
            "The platform's address already contains the API's path.",
            next=f"Remove {PATH} and everything after it; ddb-mcp adds the path.",
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise _bad_url("must not have a user name, a query or a fragment")
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        raise Misconfigured(
            f"The platform's address is http://{parts.hostname}, so anyone on the network path could read the token.",
            next="Use https://, or set DDB_MCP_ALLOW_HTTP if the network is private.",
        )
    return url.rstrip("/")


def _bad_url(problem: str) -> Misconfigured:
    # The URL is not shown: a user name in it may come with a password.
    return Misconfigured(f"The platform's address {problem}.", next="Correct DDB_MCP_API_URL, or the file it is in.")


def _read_document(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        problem = (error.strerror or "cannot be read") if isinstance(error, OSError) else "it is not JSON"
        raise Misconfigured(
            f"The auth file {path} cannot be used: {problem}.", next="Correct it, or set DDB_MCP_AUTH_FILE to another."
        ) from None


def _token_and_url(document: Any) -> tuple[str | None, str | None]:
    entry = document if isinstance(document, Mapping) else {}
    if isinstance(entry.get("sandbox"), Mapping):
        entry = entry["sandbox"]

    def first(names: tuple[str, ...]) -> str | None:
        return next((text.strip() for name in names if isinstance(text := entry.get(name), str) and text.strip()), None)

    return first(_TOKEN_NAMES), first(_URL_NAMES)


async def _run_command(command: list[str], source: str) -> str:
    """Return the output of a command, which is shown nowhere.

    It is read from the pipe once the command has exited, since children that it leaves behind may keep the pipe open. A
    command that prints more than the pipe holds waits until its time is over.
    """
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.DEVNULL, start_new_session=True
            )
        except (OSError, ValueError) as error:
            problem = getattr(error, "strerror", None) or "it is not a command line"
            raise Misconfigured(f"{source} cannot be run: {problem}.", next="Correct DDB_MCP_AUTH_COMMAND.") from None
        finally:
            os.close(writer)
        try:
            with anyio.move_on_after(AUTH_COMMAND_SECONDS) as time:
                await process.wait()
        finally:
            await _kill(process)
        if os.name == "posix":
            os.set_blocking(reader, False)
        printed = output.read(AUTH_COMMAND_MAX_BYTES) or b""
    if time.cancelled_caught:
        raise Unauthenticated(
            f"{source} printed no token within {AUTH_COMMAND_SECONDS} s.",
            next="Run it in a terminal to see what it is waiting for.",
        )
    if process.returncode != 0:
        raise Unauthenticated(
            f"{source} ended with exit status {process.returncode}.", next="Run it in a terminal and renew its login."
        )
    return printed.decode(errors="replace").strip()


async def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill a process that still runs, with the children that it has started."""
    if process.returncode is not None:
        return
    with contextlib.suppress(OSError):  # it has just exited
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)  # it leads the group of what it has started
        else:
            process.kill()
    with anyio.CancelScope(shield=True):
        await process.wait()
