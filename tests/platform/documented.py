"""A platform that implements the documented HTTP API and nothing else: a field it does not know is an error.

Items are kept as plain JSON. `answer` can be replaced to give each operation's result another of the forms in use.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, Self

from tests.support.faults import LenientServer

TOKEN = "token-that-nobody-may-see-7f3a"
PREFIX = "deploy#abc123"
PATH = "/api/data/dynamodb/"
FIELDS: dict[str, dict[str, type]] = {
    "provision": {},
    "info": {},
    "get": {"pk": str, "sk": str},
    "delete": {"pk": str, "sk": str},
    "put": {"item": str},
    "query": {"pk": str, "limit": int},
    "scan": {"limit": int},
}


@dataclass
class Raw:
    """An answer as it goes over the wire."""

    status: int
    body: bytes
    content_type: str = "application/json"


class Refused(Exception):
    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status, self.error, self.message = status, error, message


class DocumentedPlatform:
    """The server, as a context manager; `requests` holds every (operation, body) in order."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.requests: list[tuple[str, Any]] = []
        self.prefix = PREFIX
        self.token = TOKEN
        self.answer: Callable[[str, Any], Any] = lambda operation, result: result
        self._server = LenientServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def operations(self) -> list[str]:
        return [operation for operation, _ in self.requests]

    def handle(self, path: str, authorization: str | None, content: bytes) -> Raw:
        try:
            if not path.startswith(PATH) or path.removeprefix(PATH) not in FIELDS:
                raise Refused(404, "not_found", "no such route")
            operation = path.removeprefix(PATH)
            body = json.loads(content)
            self.requests.append((operation, body))
            if authorization != f"Bearer {self.token}":
                raise Refused(401, "unauthorized", "bad token")
            known = FIELDS[operation]
            if body.keys() != known.keys() or any(type(body[name]) is not kind for name, kind in known.items()):
                raise Refused(400, "validation_error", f"{operation} takes {sorted(known)} only")
            result = self.answer(operation, self._run(operation, body))
        except Refused as refused:
            answer = {"error": refused.error, "message": refused.message}
            return Raw(refused.status, json.dumps(answer).encode())
        return result if isinstance(result, Raw) else Raw(200, json.dumps(result).encode())

    def _run(self, operation: str, body: dict[str, Any]) -> Any:
        if operation in ("provision", "info"):
            return {
                "tableName": "cctools-app-data",
                "prefix": self.prefix,
                "region": "us-east-1",
                "instructions": "Use the table.",
            }
        if operation == "put":
            item = json.loads(body["item"])
            self.items[item["pk"], item["sk"]] = item
            return {"success": True}
        if operation == "get":
            return {"item": self.items.get((body["pk"], body["sk"]))}
        if operation == "delete":
            self.items.pop((body["pk"], body["sk"]), None)
            return {"success": True}
        found = [item for key, item in sorted(self.items.items()) if operation == "scan" or key[0] == body["pk"]]
        return {"items": found[: body["limit"]]}


def _handler(platform: DocumentedPlatform) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            announced = int(self.headers["Content-Length"])
            content = self.rfile.read(announced)
            if len(content) < announced:
                raise ConnectionError("the client hung up in the middle of its request")
            raw = platform.handle(self.path, self.headers["Authorization"], content)
            self.send_response(raw.status)
            self.send_header("Content-Type", raw.content_type)
            self.send_header("Content-Length", str(len(raw.body)))
            self.end_headers()
            self.wfile.write(raw.body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: `requests` has it all."""

    return Handler
