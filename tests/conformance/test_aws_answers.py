"""The endpoint's answers to the requests of `aws_answers.py`."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.aws_answers import ABSENT, INDEXES, ITEMS, ROWS, Refusal, Row, T
from tests.endpoint.raw import ask

if TYPE_CHECKING:
    from tests.support.engines import Engine


@pytest.fixture(scope="module")
def engine(endpoint: Engine) -> Engine:
    """An endpoint with the table of the rows, its indexes and its items, and an empty table beside it."""
    schema = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    types = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
    table = {"AttributeDefinitions": types, "KeySchema": schema, "BillingMode": "PAY_PER_REQUEST"}
    for name, more in ((T, INDEXES), ("aws-answers-2", {})):
        assert ask(endpoint, "CreateTable", {"TableName": name, **table, **more})[0] == 200
    puts = [{"PutRequest": {"Item": item}} for item in ITEMS]
    assert ask(endpoint, "BatchWriteItem", {"RequestItems": {T: puts}})[0] == 200
    return endpoint


def _id(row: Row) -> str:
    return f"{row.operation}: {row.name}"


def test_each_row_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(map(_id, ROWS)).items() if count > 1] == []


@pytest.mark.parametrize("row", ROWS, ids=_id)
def test_the_endpoint_answers_as_aws(engine: Engine, row: Row) -> None:
    status, answer = ask(engine, row.operation, row.request)
    if isinstance(row.answer, Refusal):
        _check_refusal(row.answer, status, answer)
    else:
        assert status == 200, answer
        _check_members(row.answer, answer)


def _check_refusal(expected: Refusal, status: int, answer: dict[str, Any]) -> None:
    message = answer.get("message", "")
    assert (status, answer.get("__type", "").rpartition("#")[2]) == (400, expected.kind), answer
    if isinstance(expected.message, str):
        assert message == expected.message
    elif isinstance(expected.message, re.Pattern):
        assert expected.message.search(message), message
    else:
        assert [part for part in expected.message if part not in message] == [], message
    reasons = answer.get("CancellationReasons", [])
    assert tuple(reason["Code"] for reason in reasons) == expected.reasons
    assert all(("Message" in reason) == (reason["Code"] != "None") for reason in reasons)


def _check_members(expected: Any, answer: Any) -> None:
    """Fail unless an answer has at least these members, and none that is `ABSENT`."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            if value is ABSENT:
                assert name not in answer
            else:
                assert name in answer, answer
                _check_members(value, answer[name])
    elif isinstance(expected, list):
        assert len(expected) == len(answer)
        for one, other in zip(expected, answer, strict=True):
            _check_members(one, other)
    else:
        assert answer == expected
