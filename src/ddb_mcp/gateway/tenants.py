"""Deployments as the registry's table holds them: a record each, under its name."""

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, TypeAdapter

from ddb_mcp.core.errors import NotProvisioned
from ddb_mcp.core.items import Item, item_to_json
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.gateway.records import Record, delete_record, iter_records, sound, write_record
from ddb_mcp.stores.base import Read, Store

TENANT_REQUESTS_PER_SECOND = 500
TENANT_ITEMS_PER_SECOND = 20_000
# Tenants remembered with their budgets. One that is forgotten has been quiet so long that its budgets are full.
TENANTS_REMEMBERED = 10_000

_DEPLOYMENT = "deployment"


@dataclass(frozen=True)
class Token:
    """A token as the registry has it. `created`: seconds since 1970."""

    hash: str
    read_only: bool
    created: int


@dataclass(frozen=True)
class Tenant:
    """A deployment as the registry has it.

    Attributes:
        state: `adding` until no other deployment can take its prefix; `removing` once its removal has begun, while its
            data are deleted.
        claim: the id of its claim on the prefix, see `prefix_claims`.
        created: seconds since 1970.
        functions: the Lambda functions to which `provision` gives the table and the prefix.
        tokens: by their ids.
        closed: when its last token was revoked, in seconds since 1970; None while it has one.
        revision: changes with each change.
        unknown: members that a newer version has added. Such a record is served, and changed only by that version.
    """

    name: str
    prefix: Annotated[Prefix, PlainValidator(Prefix), PlainSerializer(attrgetter("text"))]
    state: Literal["adding", "active", "removing"]
    claim: str
    created: int
    requests_per_second: int = TENANT_REQUESTS_PER_SECOND
    items_per_second: int = TENANT_ITEMS_PER_SECOND
    functions: tuple[str, ...] = ()
    tokens: dict[str, Token] = field(default_factory=dict)
    closed: float | None = None
    revision: int = 1
    unknown: Annotated[tuple[str, ...], Field(exclude=True)] = ()

    def to_record(self) -> Record:
        """Return the record as the table holds it."""
        members: Record = _TENANT.dump_python(self, mode="json")
        return {**_make_key(self.name)._asdict(), **members}

    @classmethod
    def from_record(cls, record: Record) -> "Tenant":
        """Return the deployment that `record` describes. Raises Misconfigured if the record is damaged."""
        with sound(record):
            unknown = tuple(sorted(record.keys() - _MEMBERS))
            return _TENANT.validate_python({**record, "unknown": unknown})


_TENANT = TypeAdapter(Tenant)
_MEMBERS = {"pk", "sk", *(member.name for member in fields(Tenant))}


class TenantRecords:
    """The records of deployments in the registry's table."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[Item, Tenant]] = {}

    async def read(self, name: str) -> Tenant | None:
        """Return a deployment, None if there is none with this name. Each call reads its record."""
        try:
            item = await self._store.get(_make_key(name))
        except NotProvisioned:
            return None
        if item is None:
            return None
        known = self._known.get(name)
        if known is None or known[0] != item:  # parsed again only after a change
            if len(self._known) >= TENANTS_REMEMBERED:
                self._known.clear()
            known = self._known[name] = item, Tenant.from_record(item_to_json(item))
        return known[1]

    async def list(self) -> list[Tenant]:
        """Return all deployments, sorted by name."""
        read = Read(pk_prefix=f"{_DEPLOYMENT}#", limit=1000, max_bytes=4_000_000)
        tenants = [Tenant.from_record(record) async for record in iter_records(self._store.scan, read)]
        return sorted(tenants, key=attrgetter("name"))

    async def write(self, tenant: Tenant, **same: Any) -> bool:
        """Write a record as `write_record` does."""
        return await write_record(self._store, tenant.to_record(), **same)

    async def delete(self, tenant: Tenant) -> bool:
        """Delete a record. Return False if it is gone, or is in another state by now."""
        return await delete_record(self._store, _make_key(tenant.name), claim=tenant.claim, state=tenant.state)


def _make_key(name: str) -> Key:
    """Return the key of a deployment's record."""
    return Key(f"{_DEPLOYMENT}#{name}", _DEPLOYMENT)
