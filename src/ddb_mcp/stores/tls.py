"""Faults of TLS in the text of a failed connection, for the clients of AWS and of platforms alike."""

_PLAIN = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
"""OpenSSL's words for a server that answers a TLS handshake with plain text."""


def is_untrusted_certificate(failure: object) -> bool:
    """Return whether the certificate is one that this machine does not trust."""
    return "CERTIFICATE_VERIFY_FAILED" in str(failure)


def is_plain_http(failure: object) -> bool:
    """Return whether TLS was spoken to what speaks plain HTTP."""
    return any(words in str(failure) for words in _PLAIN)


BROKEN_NEXT = (
    "Call again in a few seconds. If it breaks every time, check whether the address uses http:// or https://."
)
"""Advice about a broken connection: a server that speaks TLS hangs up on plain HTTP without a word."""
