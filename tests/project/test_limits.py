"""The sums that limits of several packages must keep, so that a host gets an answer before it gives up."""

from __future__ import annotations

from ddb_mcp.core import limits
from ddb_mcp.gateway import removal, server, tenant_requests
from ddb_mcp.server import stdio_streams
from ddb_mcp.stores.direct import aws, session
from ddb_mcp.stores.local import deadline
from ddb_mcp.stores.platform import api, store
from ddb_mcp.web import request_context


def test_a_call_ends_before_its_host_gives_up() -> None:
    last_attempt = session.AWS_CONNECT_SECONDS + session.AWS_READ_SECONDS
    direct_call = aws.AWS_LAST_ATTEMPT_SECONDS + last_attempt
    platform_call = api.PLATFORM_CALL_SECONDS + store.SETTLE_SECONDS
    assert limits.READ_SECONDS + direct_call < limits.HOST_SECONDS
    assert limits.BATCH_SECONDS + direct_call < limits.HOST_SECONDS
    assert limits.WHERE_SECONDS + direct_call < limits.HOST_SECONDS
    assert platform_call < limits.HOST_SECONDS
    assert limits.READ_SECONDS + deadline.LOCK_SECONDS + deadline.LOCK_HELD_SECONDS < limits.HOST_SECONDS


def test_a_gateway_answers_before_its_clients_give_up() -> None:
    assert tenant_requests.REQUEST_SECONDS <= limits.HOST_SECONDS
    assert tenant_requests.GATEWAY_WHERE_SECONDS < api.PLATFORM_CALL_SECONDS
    assert request_context.BODY_SECONDS + aws.AWS_STUCK_SECONDS < tenant_requests.REQUEST_SECONDS


def test_removal_waits_for_every_write_of_a_revoked_token() -> None:
    longest = max(session.AWS_CONNECT_SECONDS + session.AWS_READ_SECONDS, deadline.LOCK_SECONDS, aws.AWS_STUCK_SECONDS)
    assert tenant_requests.REQUEST_SECONDS + longest <= removal.REMOVAL_SECONDS
    assert server.GATEWAY_GRACE_SECONDS >= limits.READ_SECONDS


def test_stdio_finishes_a_listing_when_its_client_leaves() -> None:
    assert limits.READ_SECONDS < stdio_streams.STDIO_GRACE_SECONDS


def test_a_padded_cursor_fits_its_keys() -> None:
    assert limits.CURSOR_KEYS_BYTES < limits.CURSOR_BYTES
    assert limits.SK_MAX_BYTES + limits.PK_MAX_BYTES + limits.CURSOR_OTHER_KEYS_BYTES < limits.LONG_CURSOR_BYTES
