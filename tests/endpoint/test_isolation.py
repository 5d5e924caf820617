"""Keys outside the prefix are refused in every operation, as on AWS by the policy of `ddb-mcp policy --app`."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.endpoint.support import PREFIX, key, refused, serving
from tests.support.commands import run_command
from tests.support.tenants import foreign_keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.engines import Engine

OWN = key()
FOREIGN = list(foreign_keys(PREFIX).values())


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("isolation") / "items.sqlite3"


@pytest.fixture(scope="module")
def engine(file: Path) -> Iterator[Engine]:
    with serving(file, "--all-keys", DYNAMODB_TABLE="items") as everything:
        client: Any = everything.client()
        everything_table = {"TableName": "items", "BillingMode": "PAY_PER_REQUEST"}
        keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
        attributes = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
        client.create_table(**everything_table, KeySchema=keys, AttributeDefinitions=attributes)
        for pk in (OWN["pk"]["S"], *FOREIGN):
            client.put_item(TableName="items", Item=key("1", pk))
    with serving(file, DYNAMODB_TABLE="items") as own:
        yield own


def calls(foreign: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every operation on an item, with a foreign key; in those on several, beside one's own."""
    table = {"TableName": "items"}
    other = key("other")
    condition = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": foreign["pk"]}}
    exists = {"ConditionExpression": "attribute_exists(pk)"}
    actions: dict[str, dict[str, Any]] = {
        "Put": {"Item": foreign},
        "Update": {"Key": foreign, "UpdateExpression": "SET a = pk"},
        "Delete": {"Key": foreign},
        "ConditionCheck": {"Key": foreign, **exists},
    }
    put = {"Put": {**table, "Item": other}}
    transact = {name: [put, {name: {**table, **given}}] for name, given in actions.items()}
    return {
        "put_item": {**table, "Item": foreign},
        "get_item": {**table, "Key": foreign},
        "update_item": {**table, "Key": foreign},
        "delete_item": {**table, "Key": foreign},
        "query": {**table, **condition},
        "batch_get_item": {"RequestItems": {"items": {"Keys": [OWN, foreign]}}},
        "batch_write_item": {"RequestItems": {"items": [{"PutRequest": {"Item": item}} for item in (other, foreign)]}},
        "transact_get_items": {"TransactItems": [{"Get": {**table, "Key": item}} for item in (OWN, foreign)]},
        **{f"transact_write_items {name}": {"TransactItems": entries} for name, entries in transact.items()},
    }


@pytest.mark.parametrize("operation", calls(OWN))
def test_a_foreign_key_is_refused_and_nothing_is_done(engine: Engine, operation: str) -> None:
    client: Any = engine.client()
    before = client.scan(TableName="items")["Items"]
    for pk in FOREIGN:
        with pytest.raises(ClientError) as caught:
            getattr(client, operation.split()[0])(**calls(key("1", pk))[operation])
        response = refused(caught.value, "AccessDeniedException", "is not authorized to perform: dynamodb:")
        assert f"'{PREFIX}#'" in response["Error"]["Message"]
    assert client.scan(TableName="items")["Items"] == before


@pytest.mark.parametrize("operation", calls(OWN))
def test_an_own_key_is_taken(engine: Engine, operation: str) -> None:
    engine.client().put_item(TableName="items", Item=key("3"))
    getattr(engine.client(), operation.split()[0])(**calls(key("3"))[operation])


def test_a_scan_has_the_whole_file_as_on_aws(engine: Engine) -> None:
    found = {item["pk"]["S"] for item in engine.client().scan(TableName="items")["Items"]}
    assert found >= {OWN["pk"]["S"], *FOREIGN}


def test_no_table_is_deleted(engine: Engine) -> None:
    with pytest.raises(ClientError) as caught:
        engine.client().delete_table(TableName="items")
    refused(caught.value, "AccessDeniedException", "--all-keys")


def actions_of(operation: str) -> set[str]:
    """What AWS checks of a call: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html

    A transaction is checked by the operations of its actions.
    """
    name, _, kind = operation.partition(" ")
    if name == "transact_get_items":
        return {"GetItem"}
    named = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
    return {"PutItem", named[kind]} if kind else {name.title().replace("_", "")}


def allows(policy: dict[str, Any], action: str, resource: str, pks: list[str]) -> bool:
    """Whether IAM allows an action on items with these partition keys, or on none."""
    for statement in policy["Statement"]:
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        patterns = statement.get("Condition", {}).get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys")
        if (
            f"dynamodb:{action}" in statement["Action"]
            and any(fnmatchcase(resource, pattern) for pattern in resources)
            and (patterns is None or (pks and all(fnmatchcase(pk, patterns[0]) for pk in pks)))
        ):
            return True
    return False


def app_policy(*words: str) -> dict[str, Any]:
    environment = {"DYNAMODB_TABLE": "items", "DYNAMODB_PREFIX": PREFIX}
    policy: dict[str, Any] = json.loads(run_command("policy", "--app", *words, environment=environment).stdout)
    return policy


@pytest.mark.parametrize("words", [[], ["--read-only"]])
def test_the_endpoint_enforces_the_policy_of_the_app(engine: Engine, file: Path, words: list[str]) -> None:
    policy = app_policy(*words)
    for resource in ("table/items", "table/items/index/GSI1"):
        assert allows(policy, "Query", f"arn:aws:dynamodb:us-east-1:1:{resource}", [OWN["pk"]["S"]])
    with serving(file, *words, DYNAMODB_TABLE="items") as served:
        client: Any = served.client()
        for pk in (OWN["pk"]["S"], *FOREIGN):
            for operation, given in {**calls(key("9", pk)), "scan": {"TableName": "items"}}.items():
                pks = [] if operation == "scan" else [pk, OWN["pk"]["S"]]
                arn = "arn:aws:dynamodb:us-east-1:1:table/items"
                allowed = all(allows(policy, action, arn, pks) for action in actions_of(operation))
                try:
                    getattr(client, operation.split()[0])(**given)
                    denied = False
                except ClientError as error:
                    denied = error.response["Error"]["Code"] == "AccessDeniedException"
                assert denied != allowed, (operation, pk)


def test_a_read_only_endpoint_writes_nothing(tmp_path: Path, engine: Engine) -> None:
    with serving(tmp_path / "items.sqlite3", DYNAMODB_TABLE="items") as writing:
        client: Any = writing.client()
        keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
        attributes = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
        client.create_table(
            TableName="items", KeySchema=keys, AttributeDefinitions=attributes, BillingMode="PAY_PER_REQUEST"
        )
    with serving(tmp_path / "items.sqlite3", "--read-only", DYNAMODB_TABLE="items") as reading:
        client = reading.client()
        for operation, given in calls(key("3")).items():
            if any(word in operation for word in ("get", "query")):
                getattr(client, operation.split()[0])(**given)
                continue
            with pytest.raises(ClientError) as caught:
                getattr(client, operation.split()[0])(**given)
            refused(caught.value, "AccessDeniedException", "read-only")
        assert client.scan(TableName="items")["Count"] == 0
