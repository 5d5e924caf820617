"""Libraries for single-table apps create their tables, write and query their indexes, on the endpoint with a prefix.

Each has the model that its documentation begins with. What differs is the endpoint's address, the names of the table's
keys, and the prefix in partition keys.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, IncludeProjection, LocalSecondaryIndex
from pynamodb.models import Model

from tests.endpoint.support import PREFIX, serving

if TYPE_CHECKING:
    from tests.conformance.conftest import Node

SCRIPT = Path(__file__).with_name("orms.mjs")
WANTED: dict[str, dict[str, Any]] = {
    "electrodb": {
        "green": ["ann", "cat"],
        "pages": ["ann", "cat"],
        "between": 0,
        "both": [2, "Oslo"],
        "moved": [["bob", 5]],
        "left": ["cat"],
    },
    "toolbox": {
        "all": ["voltorb", "pikachu", "raichu"],
        "strong": ["raichu", "pikachu"],
        "pages": ["voltorb", "pikachu", "raichu"],
        "filtered": ["voltorb", "pikachu"],
        "left": ["pikachu"],
        "scanned": 2,
    },
    "onetable": {
        "users": ["a@x", "c@x"],
        "followed": "2",
        "pages": ["a@x", "c@x"],
        "byId": ["c@x", "b@x", "a@x"],
        "admins": ["a@x", "b@x"],
        "left": 1,
        "indexes": ["ls1", "gs1"],
    },
}


@pytest.mark.parametrize("library", WANTED)
def test_libraries_for_node(node: Node, library: str, tmp_path: Path) -> None:
    with serving(tmp_path / "items.sqlite3") as engine:
        asked = {"library": library, "endpoint": engine.endpoint, "prefix": PREFIX}
        done = node("--input-type=module", "--eval", SCRIPT.read_text(), "orms", json.dumps(asked))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == WANTED[library]


def test_pynamodb(tmp_path: Path) -> None:
    # The index of its documentation is partitioned by a number, which no prefix can be in.
    with serving(tmp_path / "items.sqlite3", "--all-keys") as engine:

        class ViewIndex(GlobalSecondaryIndex["Thread"]):  # type: ignore[no-untyped-call]
            class Meta:
                index_name = "view_index"
                projection = AllProjection()

            view = NumberAttribute(default=0, hash_key=True)

        class TagIndex(LocalSecondaryIndex["Thread"]):  # type: ignore[no-untyped-call]
            class Meta:
                index_name = "tag_index"
                projection = IncludeProjection(["view"])

            forum = UnicodeAttribute(hash_key=True, attr_name="pk")
            tag = UnicodeAttribute(range_key=True)

        class Thread(Model):
            class Meta:
                table_name = "threads"
                host = engine.endpoint
                region = "us-east-1"
                billing_mode = "PAY_PER_REQUEST"
                aws_access_key_id = aws_secret_access_key = "test"

            forum = UnicodeAttribute(hash_key=True, attr_name="pk")
            thread = UnicodeAttribute(range_key=True, attr_name="sk")
            view = NumberAttribute(default=0)
            tag = UnicodeAttribute(null=True)
            view_index = ViewIndex()
            tag_index = TagIndex()

        Thread.create_table(wait=True)
        assert Thread.exists()
        forum = f"{PREFIX}#forum"
        with Thread.batch_write() as batch:
            for at in range(30):
                batch.save(Thread(forum, f"{at:02}", view=at % 2, tag=f"tag-{29 - at:02}" if at % 3 else None))
        unread = list(Thread.view_index.query(0, page_size=4))
        assert [each.thread for each in unread] == [f"{at:02}" for at in range(0, 30, 2)]
        unread[0].update(actions=[Thread.view.add(7), Thread.tag.set("tag-99")])
        assert Thread.view_index.count(0) == 14
        assert [each.thread for each in Thread.view_index.query(7)] == ["00"]
        newest = list(Thread.tag_index.query(forum, TagIndex.tag.startswith("tag-"), scan_index_forward=False, limit=2))
        assert [(each.tag, each.view) for each in newest] == [("tag-99", 7), ("tag-28", 1)]
        first = Thread.view_index.query(1, limit=3)
        assert len(list(first)) == 3
        rest = Thread.view_index.query(1, last_evaluated_key=first.last_evaluated_key)
        assert len(list(rest)) == 12
        assert len(list(Thread.view_index.scan(Thread.tag.exists()))) == 21
        unread[1].delete()
        assert Thread.view_index.count(0) == 13
