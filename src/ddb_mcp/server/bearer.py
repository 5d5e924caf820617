"""The token of a request: https://www.rfc-editor.org/rfc/rfc6750#section-2.1"""

import re
from collections.abc import Sequence

_BEARER = re.compile(r"bearer +([\x21-\x7e]+)", re.I)


def bearer_token(authorization: Sequence[str]) -> str | None:
    """The token in a request's `Authorization` headers. None where they are not exactly one bearer token."""
    found = _BEARER.fullmatch(authorization[0]) if len(authorization) == 1 else None
    return None if found is None else found[1]
