"""Tables with secondary indexes, and walks through all pages of a listing."""

from __future__ import annotations

import uuid
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.endpoint.support import Table

if TYPE_CHECKING:
    from tests.support.engines import Engine

KEYS: Any = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]


def attributes(**types: str) -> list[dict[str, str]]:
    """AttributeDefinitions of the table's keys and these."""
    defined = {"pk": "S", "sk": "S", **types}
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in defined.items()]


def index(name: str, pk: str, sk: str | None = None, projection: str = "ALL", *extra: str) -> dict[str, Any]:
    """The definition of an index."""
    keys = [{"AttributeName": pk, "KeyType": "HASH"}]
    keys += [{"AttributeName": sk, "KeyType": "RANGE"}] if sk else []
    more = {"NonKeyAttributes": list(extra)} if extra else {}
    return {"IndexName": name, "KeySchema": keys, "Projection": {"ProjectionType": projection, **more}}


def create(client: Any, name: str, types: dict[str, str], *, local: Any = (), indexes: Any = ()) -> Any:
    """Create a table; a list of indexes that is empty is left out."""
    lists = {"LocalSecondaryIndexes": list(local), "GlobalSecondaryIndexes": list(indexes)}
    return client.create_table(
        TableName=name,
        KeySchema=KEYS,
        AttributeDefinitions=attributes(**types),
        BillingMode="PAY_PER_REQUEST",
        **{kind: entries for kind, entries in lists.items() if entries},
    )


@cache
def client_of(engine: Engine) -> Any:
    """One client of an engine for all tables: boto3 takes long to make one."""
    return engine.client()


class IndexedTable(Table):
    """A new table with indexes."""

    def __init__(self, engine: Engine, types: dict[str, str], *, local: Any = (), indexes: Any = ()) -> None:
        self.name = f"table-{uuid.uuid4().hex[:12]}"
        self.client = client_of(engine)
        create(self.client, self.name, types, local=local, indexes=indexes)

    def walk(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """All items of a listing, page by page, and the sum of what was scanned."""
        items: list[Any] = []
        count = scanned = 0
        start: dict[str, Any] = {}
        for _ in range(100):
            page = self.call(operation, **parameters, **start)
            items += page.get("Items", [])
            count, scanned = count + page["Count"], scanned + page["ScannedCount"]
            if "LastEvaluatedKey" not in page:
                return {"Items": items, "Count": count, "ScannedCount": scanned}
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        raise AssertionError("a listing without an end")

    def find(self, name: str, pk: Any, **parameters: Any) -> list[str]:
        """The table's sort keys of the items with a partition key of an index, in its order."""
        attribute = {each["IndexName"]: each for each in self.list_indexes()}[name]["KeySchema"][0]["AttributeName"]
        found = self.walk(
            "query",
            IndexName=name,
            KeyConditionExpression="#pk = :pk",
            ExpressionAttributeNames={"#pk": attribute},
            ExpressionAttributeValues={":pk": pk},
            **parameters,
        )
        return [item["sk"]["S"] for item in found["Items"]]

    def list_indexes(self) -> list[Any]:
        """The descriptions of all indexes."""
        described = self.call("describe_table")["Table"]
        return [*described.get("LocalSecondaryIndexes", []), *described.get("GlobalSecondaryIndexes", [])]


def canonical(value: Any) -> Any:
    """A value whose numbers are equal if DynamoDB's are."""
    if isinstance(value, dict):
        return {
            name: format(Decimal(inner).normalize(), "E") if name == "N" else canonical(inner)
            for name, inner in value.items()
        }
    return [canonical(entry) for entry in value] if isinstance(value, list) else value
