"""The registry of a gateway: deployments with their prefixes, tokens and rates, as items of a table of their own.

Any number of processes on any number of machines share the table. Each record is changed by a conditional write that
wants the revision that was read, so that no change is lost.
"""

import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from ddb_mcp.config.settings import DirectStorage, GatewaySettings, registry_path
from ddb_mcp.core.errors import InvalidArgument, Misconfigured, NotProvisioned, Unavailable
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.gateway.coalescing import CoalescedReads
from ddb_mcp.gateway.prefix_claims import REGISTRY_ATTEMPTS, PrefixClaims
from ddb_mcp.gateway.records import Record, read_record, sound, write_record
from ddb_mcp.gateway.tenants import TENANT_ITEMS_PER_SECOND, TENANT_REQUESTS_PER_SECOND, Tenant, TenantRecords, Token
from ddb_mcp.gateway.tokens import NAME, TokenParts, format_token, generate_token, parse_token
from ddb_mcp.stores.base import Progress, Store

TOKENS_MAX = 100
# The registry's secret is read again after this time, so a new registry is noticed.
KEYS_SECONDS = 30


_VERSION = 1
_FACTS = Key("registry", "facts")
_TABLE_MAX = 255


def make_registry_settings(settings: GatewaySettings) -> GatewaySettings:
    """Return the settings of a gateway's registry: a table or, in local mode, a file beside the data.

    Raises:
        Misconfigured: the table's name has no room for more.
    """
    table = f"{settings.table}-gateway"
    if len(table) > _TABLE_MAX:
        raise Misconfigured(f"The name {table!r} of the registry's table is too long.", next="Rename the table.")
    if isinstance(settings, DirectStorage):
        return replace(settings, table=table, indexes=())
    path = registry_path(settings.local_path)
    return replace(settings, table=table, indexes=(), local_path=path, registry=True)


class Access(NamedTuple):
    """The access that a token gives.

    Attributes:
        token_id: of the token.
        cursor_key: seals cursors.
    """

    tenant: Tenant
    read_only: bool
    token_id: str
    cursor_key: bytes


class RegistryKeys(NamedTuple):
    """Keys derived from the registry's secret, the same in every process and after every restart.

    Attributes:
        tokens: marks tokens as this registry's.
        cursors: seals cursors.
        read_at: when they were read, by `time.monotonic`.
    """

    tokens: bytes
    cursors: bytes
    read_at: float


class Registry:
    """The deployments. Safe for concurrent use.

    Args:
        store: its table, and nothing else's.
        clock: seconds since 1970.

    Raises (each method):
        Misconfigured: there is no registry yet, or one of a newer version.
        DdbMcpError: what the store raises.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self._clock = clock
        self._tenants = TenantRecords(store)
        self._claims = PrefixClaims(store, self._tenants, clock)
        self._reads = CoalescedReads(self._tenants.read)
        self._key_reads = CoalescedReads(lambda _: self._read_keys())
        self._keys: RegistryKeys | None = None

    async def create_if_missing(self, progress: Progress) -> bool:
        """Create the table and the registry's secret if missing. Return True if this call made the secret."""
        if await self.exists():
            return False
        await self.store.provision(progress)
        facts = {**_FACTS._asdict(), "version": _VERSION, "secret": secrets.token_hex(32)}
        return await write_record(self.store, facts)

    async def exists(self) -> bool:
        """Return whether the registry exists: its table, and the secret in it."""
        return await self._read_facts() is not None

    async def get_keys(self) -> RegistryKeys:
        """Return the keys. They are read again every `KEYS_SECONDS`."""
        if self._keys is None or time.monotonic() - self._keys.read_at > KEYS_SECONDS:
            await self.check()
        assert self._keys is not None
        return self._keys

    async def check(self) -> None:
        """Read the keys, to see whether the registry can be read."""
        self._keys = await self._key_reads.get("")

    async def _read_keys(self) -> RegistryKeys:
        facts, now = await self._read_facts(), time.monotonic()
        if facts is None:
            raise Misconfigured("There is no registry.", next="Create it with: ddb-mcp gateway init")
        if facts.get("version") != _VERSION:
            raise Misconfigured(
                f"The registry is of version {facts.get('version')}, and this ddb-mcp reads version {_VERSION}.",
                next="Upgrade ddb-mcp.",
            )
        with sound(facts):
            secret = bytes.fromhex(facts["secret"])
        return RegistryKeys(hmac.digest(secret, b"tokens", "sha256"), hmac.digest(secret, b"cursors", "sha256"), now)

    async def authenticate(self, token: str) -> Access | None:
        """Return the access that a token gives, None if it gives none.

        Reads the record after this call, together with other callers; not at all if the token was made up.
        """
        keys = await self.get_keys()
        parts = parse_token(token, keys.tokens)
        if parts is None:
            return None
        if (tenant := await self._reads.get(parts.name)) is None:
            await self.check()  # the whole registry may be gone
            return None
        stored = tenant.tokens.get(parts.id)
        if tenant.state != "active" or stored is None or not hmac.compare_digest(stored.hash, parts.hash):
            return None
        return Access(tenant, stored.read_only, parts.id, keys.cursors)

    async def add(
        self,
        name: str,
        prefix: Prefix,
        *,
        requests_per_second: int = TENANT_REQUESTS_PER_SECOND,
        items_per_second: int = TENANT_ITEMS_PER_SECOND,
        functions: tuple[str, ...] = (),
    ) -> str:
        """Register a deployment. Returns its token.

        Raises:
            InvalidArgument: the name is malformed or taken, or the prefix overlaps another's.
        """
        if not re.fullmatch(NAME, name):
            raise InvalidArgument(
                f"{name!r} is not a valid deployment name.", next="Use up to 63 letters, digits, `.`, `_` or `-`."
            )
        key = (await self.get_keys()).tokens
        parts = generate_token(name)
        tokens = {parts.id: self._make_token(parts, read_only=False)}
        claim, now = secrets.token_hex(8), int(self._clock())
        tenant = Tenant(name, prefix, "adding", claim, now, requests_per_second, items_per_second, functions, tokens)
        if not await self._tenants.write(tenant):
            raise _make_state_error(await self.get(name))
        try:
            await self._claims.acquire(tenant)
            if await self._tenants.write(replace(tenant, state="active"), claim=tenant.claim, state="adding"):
                return format_token(parts, key)
            raise InvalidArgument(
                f"The deployment {name} was removed, or an overlapping one was added, while it was being added."
            )
        except InvalidArgument:
            await self._tenants.delete(tenant)
            await self._claims.release(tenant)
            raise

    async def list(self) -> list[Tenant]:
        """Return all deployments by name, whatever their state."""
        await self.get_keys()
        return await self._tenants.list()

    async def get(self, name: str) -> Tenant:
        """Return one deployment. Raises InvalidArgument if there is none."""
        await self.get_keys()
        if (tenant := await self._tenants.read(name)) is None:
            raise InvalidArgument(
                f"There is no deployment {name!r}.", next="List them with: ddb-mcp gateway deployments list"
            )
        return tenant

    async def update(self, name: str, **options: Any) -> None:
        """Change members of a deployment's record. Raises InvalidArgument if the name is unknown."""
        await self._change_active(name, lambda tenant: replace(tenant, **options))

    async def rotate(self, name: str) -> str:
        """Revoke all tokens of a deployment and return a new one. Raises InvalidArgument if the name is unknown."""
        return await self._new_token(name, read_only=False, replaces=True)

    async def add_token(self, name: str, *, read_only: bool) -> str:
        """Add a token to a deployment and return it. Raises InvalidArgument if it is unknown, or it has enough."""
        return await self._new_token(name, read_only=read_only, replaces=False)

    async def _new_token(self, name: str, *, read_only: bool, replaces: bool) -> str:
        parts = generate_token(name)

        def change(tenant: Tenant) -> Tenant:
            older = {} if replaces else tenant.tokens
            if len(older) >= TOKENS_MAX:
                raise InvalidArgument(
                    f"The deployment {name} has {TOKENS_MAX} tokens, the maximum.",
                    next="Revoke unused ones.",
                )
            return replace(
                tenant, tokens={**older, parts.id: self._make_token(parts, read_only=read_only)}, closed=None
            )

        await self._change_active(name, change)
        return format_token(parts, (await self.get_keys()).tokens)

    async def revoke_token(self, name: str, token_id: str) -> None:
        """Revoke one token of a deployment. Raises InvalidArgument if there is no such deployment or token."""

        def change(tenant: Tenant) -> Tenant:
            tokens = dict(tenant.tokens)
            if tokens.pop(token_id, None) is None:
                raise InvalidArgument(
                    f"The deployment {name} has no token {token_id!r}.",
                    next=f"List them with: ddb-mcp gateway tokens list {name}",
                )
            return replace(tenant, tokens=tokens, closed=None if tokens else self._clock())

        await self._change_active(name, change)

    async def begin_removal(self, name: str) -> Tenant:
        """Revoke the tokens of a deployment that is to be removed. Raises InvalidArgument if it is unknown.

        A deployment whose `add` was interrupted stays in the state `adding`: it never had data.
        """

        def change(tenant: Tenant) -> Tenant:
            if tenant.state == "adding":
                return tenant
            closed = self._clock() if tenant.closed is None else tenant.closed
            return replace(tenant, state="removing", tokens={}, closed=closed)

        return await self._change(name, change)

    async def delete(self, tenant: Tenant) -> None:
        """Remove a deployment, after its data are deleted."""
        if not await self._tenants.delete(tenant):
            raise Unavailable(f"The deployment {tenant.name} has changed meanwhile.", next="Run it again.")
        # Last, so that no other deployment takes the prefix before the data are deleted.
        await self._claims.release(tenant)

    async def close(self) -> None:
        """Close the store."""
        await self.store.close()

    async def _change_active(self, name: str, change: Callable[[Tenant], Tenant]) -> None:
        def checked(tenant: Tenant) -> Tenant:
            if tenant.state != "active":
                raise _make_state_error(tenant)
            return change(tenant)

        await self._change(name, checked)

    async def _change(self, name: str, change: Callable[[Tenant], Tenant]) -> Tenant:
        """Write what `change` makes of a deployment. Start again if it has changed meanwhile."""
        for _ in range(REGISTRY_ATTEMPTS):
            tenant = await self.get(name)
            if tenant.unknown:
                raise Misconfigured(f"The record of {name} was written by a newer ddb-mcp.", next="Upgrade this one.")
            changed = replace(change(tenant), revision=tenant.revision + 1)
            if await self._tenants.write(changed, revision=tenant.revision, claim=tenant.claim):
                return changed
        raise Unavailable(f"The deployment {name} kept changing.", next="Run it again.")

    async def _read_facts(self) -> Record | None:
        try:
            return await read_record(self.store, _FACTS)
        except NotProvisioned:
            return None

    def _make_token(self, parts: TokenParts, *, read_only: bool) -> Token:
        return Token(parts.hash, read_only, int(self._clock()))


_STATES = {"adding": "still being added, or left over from an interrupted add", "removing": "being removed"}


def _make_state_error(tenant: Tenant) -> InvalidArgument:
    name = tenant.name
    if tenant.state == "active":
        return InvalidArgument(f"The deployment {name} exists already.", next="Rotate its tokens, or remove it.")
    removal = f"Finish its removal with: ddb-mcp gateway deployments remove {name}"
    return InvalidArgument(f"The deployment {name} is {_STATES[tenant.state]}.", next=removal)
