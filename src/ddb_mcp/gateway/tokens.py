"""The text of tokens: `ddbmcp_NAME_ID_SECRET_MAC`.

NAME is the deployment's, so that one read of the registry finds what a token opens. ID tells the tokens of a deployment
apart. SECRET is 256 random bits, of which the registry keeps a SHA-256 hash: nothing slower is needed for so many. MAC
shows, without a read, that this registry made the token.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_TOKEN = re.compile(rf"ddbmcp_({NAME})_([0-9a-f]{{8}})_([A-Za-z0-9_-]{{43}})_([0-9a-f]{{16}})")


@dataclass(frozen=True)
class TokenParts:
    """The parts of a token: the deployment's name, the token's id, and its secret."""

    name: str
    id: str
    secret: str

    @property
    def hash(self) -> str:
        """SHA-256 of the secret in hexadecimal, which the registry keeps."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


def generate_token(name: str) -> TokenParts:
    """Return a new token for the deployment."""
    return TokenParts(name, secrets.token_hex(4), secrets.token_urlsafe(32))


def format_token(parts: TokenParts, key: bytes) -> str:
    """Return the token as its holder sends it; `key` is the registry's."""
    return f"ddbmcp_{parts.name}_{parts.id}_{parts.secret}_{_compute_mac(parts, key)}"


def parse_token(text: str, key: bytes) -> TokenParts | None:
    """Return the parts of a token, None if this registry cannot have made it."""
    match = _TOKEN.fullmatch(text)
    if match is None:
        return None
    parts = TokenParts(match[1], match[2], match[3])
    return parts if hmac.compare_digest(match[4], _compute_mac(parts, key)) else None


def _compute_mac(parts: TokenParts, key: bytes) -> str:
    signed = f"{parts.name}_{parts.id}_{parts.secret}".encode()
    return hmac.new(key, signed, "sha256").hexdigest()[:16]
