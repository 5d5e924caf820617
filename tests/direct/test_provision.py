"""The table and its TTL: made once, whoever else is making it, and as far as permissions go."""

from __future__ import annotations

import uuid
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

import pytest

from ddb_mcp.core.errors import Forbidden, Misconfigured, Timeout
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.service.service import DataService
from ddb_mcp.stores.base import FEATURES, NO_CONDITION, Written
from ddb_mcp.stores.direct import provisioning
from ddb_mcp.stores.direct import provisioning as provisioning_module
from ddb_mcp.stores.direct.indexes import define_attributes
from tests.direct.support import ANY_SCHEMA, CREDENTIALS, aws, connected, direct
from tests.support.faults import FaultProxy, dynamodb_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.from_thread import BlockingPortal

    from ddb_mcp.stores.base import Deployment
    from ddb_mcp.stores.direct.store import DirectStore
    from tests.support.engines import Engine

ITEM = {"pk": {"S": "deploy#me#p"}, "sk": {"S": "s"}}


@pytest.fixture(autouse=True)
def poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning_module, "POLL_SECONDS", 0.01)


@pytest.fixture
def aws_settings(engine: Engine) -> Iterator[str]:
    with aws(engine.endpoint, **CREDENTIALS):
        yield engine.endpoint


@pytest.fixture
def name() -> str:
    return f"new-{uuid.uuid4().hex[:8]}"


def provisioned(portal: BlockingPortal, store: DirectStore, told: list[str] | None = None) -> Deployment:
    async def progress(message: str) -> None:
        if told is not None:
            told.append(message)

    found: Deployment = portal.call(store.provision, progress)
    return found


@pytest.mark.usefixtures("aws_settings")
def test_a_missing_table_is_made_once(portal: BlockingPortal, engine: Engine, name: str) -> None:
    store = direct(name)
    before = portal.call(store.info)
    assert (before.provisioned, before.details) == (False, {})
    told: list[str] = []
    made = provisioned(portal, store, told)
    assert (made.created, made.provisioned, made.region, made.features) == (True, True, "us-east-1", FEATURES)
    assert (made.table_name, made.prefix) == (name, "deploy#me")
    assert told[0] == f"creating the table {name}"
    assert set(told[1:]) <= {f"the table {name} is creating"}  # an engine may take a while
    again = provisioned(portal, direct(name))
    assert again.created is False
    assert portal.call(store.info).provisioned is True
    assert portal.call(store.put, ITEM, NO_CONDITION) == Written(created=True)
    table = engine.client().describe_table(TableName=name)["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


@pytest.mark.usefixtures("aws_settings")
def test_two_may_provision_at_once(portal: BlockingPortal, name: str) -> None:
    stores = [direct(name, f"deploy#{at}") for at in range(4)]
    done = [portal.start_task_soon(store.provision, _quiet) for store in stores]
    wait(done)
    assert sorted(future.result().created for future in done) == [False, False, False, True]


async def _quiet(message: str) -> None:
    pass


@ANY_SCHEMA
@pytest.mark.usefixtures("aws_settings")
@pytest.mark.parametrize(
    ("keys", "kinds"),
    [
        ({"pk": "HASH"}, {"pk": "S"}),
        ({"id": "HASH", "sk": "RANGE"}, {"id": "S", "sk": "S"}),
        ({"pk": "HASH", "sk": "RANGE"}, {"pk": "S", "sk": "N"}),
        ({"sk": "HASH", "pk": "RANGE"}, {"pk": "S", "sk": "S"}),
    ],
    ids=["no sk", "other name", "other type", "exchanged"],
)
def test_another_key_schema_is_refused(
    portal: BlockingPortal, engine: Engine, name: str, keys: dict[str, Any], kinds: dict[str, Any]
) -> None:
    engine.client().create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind in kinds.items()],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(Misconfigured, match="pk"):
        provisioned(portal, direct(name))
    with pytest.raises(Misconfigured, match="pk"):
        portal.call(direct(name).info)


@ANY_SCHEMA
@pytest.mark.usefixtures("aws_settings")
def test_an_index_on_the_table_is_no_other_key_schema(portal: BlockingPortal, engine: Engine, name: str) -> None:
    engine.client().create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("other", "sk", "pk")],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-other",
                "KeySchema": [{"AttributeName": "other", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    assert provisioned(portal, direct(name)).created is False


# TTL


@pytest.mark.deviates("dynalite", reason="has no UpdateTimeToLive", raises=AssertionError)
def test_ttl_is_enabled_once(portal: BlockingPortal, engine: Engine, name: str) -> None:
    with FaultProxy(engine.endpoint) as proxy, aws(proxy.endpoint, **CREDENTIALS):
        store = direct(name)
        for _ in range(3):
            assert provisioned(portal, store).details == {"ttl": "enabled"}
        assert proxy.count("UpdateTimeToLive") == 1
        assert portal.call(store.info).details == {"ttl": "enabled"}


def test_an_engine_without_ttl_says_so(portal: BlockingPortal, dynalite: Engine, name: str) -> None:
    with aws(dynalite.endpoint, **CREDENTIALS):
        made = provisioned(portal, direct(name))
    assert made.created is True
    assert "TTL" in made.details["warnings"][0]


def test_ttl_on_another_attribute_is_left_alone(portal: BlockingPortal, dynoxide: Engine) -> None:
    name, client = dynoxide.create_table(), dynoxide.client()
    client.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"})
    with aws(dynoxide.endpoint, **CREDENTIALS):
        made = provisioned(portal, direct(name))
    assert made.details["ttl"] == "on expires"
    assert "expires" in made.details["warnings"][0]
    after = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert after == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}


@pytest.mark.parametrize("attribute", [None, "expires", "ttl"])
def test_no_expiry_is_predicted_for_a_table_that_is_known_to_expire_nothing_by_ttl(
    portal: BlockingPortal, dynoxide: Engine, attribute: str | None
) -> None:
    table = dynoxide.create_table()
    if attribute:
        dynoxide.client().update_time_to_live(
            TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": attribute}
        )
    service = DataService(connected(portal, dynoxide.endpoint, table, "deploy#me"), Prefix("deploy#me"))

    def put() -> dict[str, Any]:
        item = {"pk": "deploy#me#a", "sk": "1", "ttl": 1}
        return portal.call(service.run_operation, "put", {"item": item})

    assert "warnings" in put(), "nobody has said yet what the table does"
    portal.call(service.run_operation, "info", {})
    assert ("warnings" in put()) is (attribute == "ttl")


def test_ttl_enabled_by_another_between_read_and_write(
    portal: BlockingPortal, proxy: FaultProxy, dynoxide: Engine
) -> None:
    store = direct(dynoxide.create_table())
    proxy.plan(dynamodb_error("ValidationException", message="TimeToLive is already enabled"), on="UpdateTimeToLive")
    made = provisioned(portal, store)
    assert made.details["ttl"] == "disabled"
    assert "provision again" in made.details["warnings"][0]
    assert provisioned(portal, store).details == {"ttl": "enabled"}


# Waiting


def creating(status: str) -> Any:
    from tests.support.faults import Answer

    described = {
        "TableStatus": status,
        "KeySchema": provisioning._KEY_SCHEMA,
        "AttributeDefinitions": define_attributes(provisioning._KEYS),
    }
    return Answer(200, {"Table": described})


def test_a_table_that_others_are_making_or_deleting_is_waited_for(
    portal: BlockingPortal, proxy: FaultProxy, dynoxide: Engine, name: str
) -> None:
    proxy.plan(creating("DELETING"), times=2, on="DescribeTable")
    told: list[str] = []
    assert provisioned(portal, direct(name), told).created is True
    assert told == [f"the table {name} is deleting"] * 2 + [f"creating the table {name}"]

    existing, told = dynoxide.create_table(), []
    proxy.plan(creating("CREATING"), times=2, on="DescribeTable")
    assert provisioned(portal, direct(existing), told).created is False
    assert told == [f"the table {existing} is creating"] * 2


def test_waiting_ends(portal: BlockingPortal, proxy: FaultProxy, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning_module, "TABLE_READY_SECONDS", 0.05)
    proxy.plan(creating("CREATING"), times=1000, on="DescribeTable")
    with pytest.raises(Timeout, match="CREATING"):
        provisioned(portal, direct(name))


def test_a_table_out_of_reach_is_no_table(portal: BlockingPortal, proxy: FaultProxy, name: str) -> None:
    proxy.plan(creating("ARCHIVED"), on="DescribeTable")
    with pytest.raises(Misconfigured, match="archived"):
        portal.call(direct(name).info)


# Permissions

DENIED = dynamodb_error("AccessDeniedException")


def test_without_describe_table_the_items_work(portal: BlockingPortal, proxy: FaultProxy, dynoxide: Engine) -> None:
    store = direct(dynoxide.create_table())
    proxy.plan(DENIED, times=2, on="DescribeTable")
    for deployment in (portal.call(store.info), provisioned(portal, store)):
        assert deployment.provisioned is True
        assert "dynamodb:DescribeTable" in deployment.details["warnings"][0]
        assert "works" in deployment.details["warnings"][0]
    assert portal.call(store.get, Key("deploy#me#p", "s")) is None


def test_without_create_table_it_says_what_is_missing(portal: BlockingPortal, proxy: FaultProxy, name: str) -> None:
    proxy.plan(DENIED, on="CreateTable")
    with pytest.raises(Forbidden, match="dynamodb:CreateTable") as caught:
        provisioned(portal, direct(name))
    assert "partition key pk" in caught.value.next


def test_without_any_permission_the_missing_one_is_named(portal: BlockingPortal, proxy: FaultProxy, name: str) -> None:
    proxy.plan(DENIED, times=2)
    with pytest.raises(Forbidden, match="dynamodb:GetItem"):
        portal.call(direct(name).info)


@pytest.mark.parametrize("operation", ["DescribeTimeToLive", "UpdateTimeToLive"])
def test_without_permission_for_ttl_the_rest_works(
    portal: BlockingPortal, proxy: FaultProxy, name: str, operation: str
) -> None:
    proxy.plan(DENIED, on=operation)
    made = provisioned(portal, direct(name))
    assert made.provisioned is True
    assert f"dynamodb:{operation}" in made.details["warnings"][0]
    assert "everything else works" in made.details["warnings"][0]
