"""`ddb-mcp browse`: the data browser on this machine, in the user's own web browser."""

import argparse
import os
import sys
from dataclasses import replace

from ddb_mcp.cli.service import make_service, require_writing
from ddb_mcp.config.settings import ModeSettings


def add_arguments(parser: argparse.ArgumentParser, flags: argparse.ArgumentParser) -> None:
    """Add the arguments of `ddb-mcp browse`."""
    parser.add_argument("--port", type=int, default=0, help="port, default any free one")
    parser.add_argument("--no-open", action="store_true", help="print the address without opening a web browser")
    parser.add_argument("--write", action="store_true", help="let the page edit, create and delete items")


def run(settings: ModeSettings, arguments: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C. Its address, and nothing else, goes to stdout.

    Raises:
        ReadOnly: `--write` with a read-only configuration.
        Misconfigured: the port cannot be listened on.
    """
    if arguments.write:
        require_writing(settings, "browse --write writes")
    import secrets
    import threading

    from ddb_mcp.browser.app import BrowserHost
    from ddb_mcp.web.listening import Listening
    from ddb_mcp.web.serving import HttpServer

    listener, server = Listening("127.0.0.1", arguments.port).listen()
    secret = secrets.token_urlsafe(24)
    address = f"{server}/{secret}/"
    service = make_service(replace(settings, read_only=not arguments.write))
    host = BrowserHost(service, secret, listener.getsockname()[1])
    state = "and the page can write" if arguments.write else "read-only; --write lets the page write"
    print(f"ddb-mcp: browsing, {state}. Ctrl-C ends it.", file=sys.stderr, flush=True)
    print(address, flush=True)
    if not arguments.no_open:
        threading.Thread(target=_open, args=(address,), daemon=True).start()
    HttpServer(host, listener).run()
    return 0


def _open(address: str) -> None:
    """Open the address in a graphical web browser, not in one that takes over the terminal."""
    import webbrowser

    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        browser = None
    if browser is None or (type(browser) is webbrowser.GenericBrowser and "BROWSER" not in os.environ):
        print("ddb-mcp: no web browser was found; open the address in one.", file=sys.stderr)
    else:
        browser.open(address)
