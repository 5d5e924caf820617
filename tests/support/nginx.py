"""Debian's nginx before gateways, with the configuration that docs/gateway.md gives.

`python -m tests.support.nginx` installs it on CI's machines.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.chromium import install
from tests.support.engines import CI, ROOT
from tests.support.waiting import wait_until

_SEARCH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
_MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{servers}
}}
"""


def main() -> None:
    """Install Debian's nginx on a machine of CI; exit with 1 if it is missing there."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if CI and _find_program() is None:
        install("nginx-light")
        sys.exit(_find_program() is None)


def _find_program() -> str | None:
    return shutil.which("nginx", path=_SEARCH)


def _write_configuration(folder: Path, port: int, gateways: Sequence[int]) -> Path:
    """Write the documented configuration for these ports, without TLS."""
    text = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
    (servers,) = re.findall(r"^```nginx\n(.*?)^```", text, re.M | re.S)
    for number, gateway in enumerate(gateways, 11):
        servers = servers.replace(f"10.0.0.{number}:8787", f"127.0.0.1:{gateway}")
    servers = re.sub(r" *ssl_certificate.*\n", "", servers).replace("443 ssl", f"127.0.0.1:{port}")
    assert "10.0.0." not in servers
    user = "user root;" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(_MAIN.format(folder=folder, user=user, servers=servers))
    return file


@contextmanager
def running_nginx(folder: Path, gateways: Sequence[int]) -> Iterator[str]:
    """The address of an nginx before gateways on these ports. Without nginx, fail if CI is set, else skip."""
    program = _find_program()
    if program is None:
        (pytest.fail if CI else pytest.skip)("no nginx; install Debian's nginx-light")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]

    def listens() -> bool:
        assert process.poll() is None, (folder / "error.log").read_text()
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) == 0

    with subprocess.Popen([program, "-c", str(_write_configuration(folder, port, gateways))]) as process:
        try:
            wait_until(listens)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
