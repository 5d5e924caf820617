"""Requests, and what AWS answers to them, for `test_aws_answers.py`.

The facts come from AWS's API reference and from public test suites that run against AWS: dynalite's, Alternator's and
nubo-db's. Each row names its source.

Many requests have two faults, and the row says which one AWS reports. Where the endpoint differs on purpose, `differs`
says what AWS would answer, and the row expects the endpoint's own answer.

AWS changes its wording region by region, and the suites accept the old and the new form: `Value '0' at 'limit'` became
`Value at 'Limit'`, and more messages start with `1 validation error detected: `. The rows expect the old form,
    or either.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

DYNALITE = "dynalite"
ALTERNATOR = "Alternator"
NUBO = "nubo-db/dynamodb-conformance"
REFERENCE = "API reference"

# The table that the rows use, the name of one that does not exist, and a member that an answer must not have.
T, MISSING = "aws-answers", "not-there"
ABSENT = object()


class Refusal(NamedTuple):
    """An error: its type, and its message exactly, or fragments or a pattern of it; its status is 400."""

    kind: str
    message: str | re.Pattern[str] | tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


class Row(NamedTuple):
    """A request and its answer: a `Refusal`, members that the answer has at least, or None for an empty body."""

    operation: str
    name: str
    request: Any
    answer: Refusal | dict[str, Any] | None
    source: str
    differs: str = ""


def _rows(operation: str, *rows: tuple[Any, ...], table: str | None = T) -> list[Row]:
    """Return rows of one operation. A request names the table, unless it says otherwise or is raw bytes."""

    def complete(request: Any) -> Any:
        if table is None or not isinstance(request, dict):
            return request
        return {name: value for name, value in {"TableName": table, **request}.items() if value is not None}

    return [Row(operation, name, complete(request), *rest) for name, request, *rest in rows]


def invalid(message: str | re.Pattern[str]) -> Refusal:
    return Refusal("ValidationException", message)


def invalid_with(*fragments: str) -> Refusal:
    return Refusal("ValidationException", fragments)


def violated(*problems: str) -> Refusal:
    """The refusal of values that violate constraints, in any order."""
    plural = "s" if len(problems) > 1 else ""
    return invalid_with(f"{len(problems)} validation error{plural} detected: ", *problems)


def at(path: str, demand: str, value: str = "null") -> str:
    return f"Value {value} at '{path}' failed to satisfy constraint: Member must {demand}"


def not_one_of(path: str, values: str) -> str:
    return at(path, f"satisfy enum value set: [{values}]", "'hi'")


def cancelled(*codes: str, message: str | tuple[str, ...] | None = None) -> Refusal:
    says = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{', '.join(codes)}]"
    return Refusal("TransactionCanceledException", message or says, codes)


def S(text: str) -> dict[str, str]:
    return {"S": text}


def N(text: str) -> dict[str, str]:
    return {"N": text}


def key(sk: str, pk: str = "p") -> dict[str, Any]:
    return {"pk": S(pk), "sk": S(sk)}


WRONG_TYPE = Refusal("SerializationException")
NOT_FOUND = Refusal("ResourceNotFoundException", ("Requested resource not found",))
# AWS: "Requested resource not found", and nothing else.
HINT = "The message goes on with how to make the table."
CHECK_FAILED = Refusal("ConditionalCheckFailedException", "The conditional request failed")
MISMATCH = "The provided key element does not match the schema"
NOT_VALID = "One or more parameter values are not valid. "
INVALID = "One or more parameter values were invalid: "
EMPTY_KEY = "The AttributeValue for a key attribute cannot contain an empty string value. Key: "
NO_TYPE = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
TWO_TYPES = NO_TYPE.replace("is empty", "has more than one datatypes set")
TOO_LARGE = "Item size has exceeded the maximum allowed size"
NO_NAMES = "ExpressionAttributeNames can only be specified when using expressions"
NO_VALUES = "ExpressionAttributeValues can only be specified when using expressions: "
UNUSED_NAMES = "Value provided in ExpressionAttributeNames unused in expressions: keys: {#u}"
UNUSED_VALUES = "Value provided in ExpressionAttributeValues unused in expressions: keys: {:u}"
UNDEFINED_NAME = "An expression attribute name used in the document path is not defined; attribute name: #u"
UNDEFINED_VALUE = "An expression attribute value used in expression is not defined; attribute value: :v"
WRONG_OPERAND = "Incorrect operand type for operator or function; operator or function: "
NO_TABLE_NAME = "The parameter 'TableName' is required but was not present in the request"
OVERLAP = "must remove or rewrite one of these paths; path one: [a], path two: [a, b]"
SCALARS = "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: pk"
PATTERN = "satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
CAPACITIES, METRICS = "INDEXES, TOTAL, NONE", "SIZE, NONE"
RETURNED = "ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW"
NAME_256 = "a" * 256
LARGE = {"S": "x" * 409_600}
LEGACY = "AWS accepts legacy parameters; the endpoint refuses them."
BOTH = "AWS: Can not use both expression and non-expression parameters in the same request. " + LEGACY

# What the table holds before the first row.
ITEMS: list[dict[str, Any]] = [
    {
        **key(sk),
        "g": S("red"),
        "n": N(sk),
        "x": S("x"),
        "m": {"M": {"a": S("a"), "b": {"M": {"c": N("1")}}}},
        "l": {"L": [S("l0"), S("l1"), S("l2")]},
        "t": {"SS": ["a", "b"]},
    }
    for sk in ("1", "2", "3")
]
ITEMS += [{**key(sk, "old"), "a": S("a"), "b": S("b")} for sk in ("put", "update", "updated", "delete", "check")]

# The table's indexes: global ones with all attributes and with the keys, a local one with one attribute more.
INDEXES: dict[str, Any] = {
    "AttributeDefinitions": [
        {"AttributeName": name, "AttributeType": kind}
        for name, kind in (("pk", "S"), ("sk", "S"), ("g", "S"), ("n", "N"))
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-g",
            "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "ALL"},
        },
        {
            "IndexName": "keys-only",
            "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        },
    ],
    "LocalSecondaryIndexes": [
        {
            "IndexName": "by-n",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]},
        }
    ],
}

# Values that no item and no key can have, with what AWS says of them.
BAD_VALUES = [
    ({}, NO_TYPE),
    ({"NULL": False}, f"{INVALID}Null attribute value types must have the value of true"),
    ({"SS": []}, f"{INVALID}An string set  may not be empty"),
    ({"NS": []}, f"{INVALID}An number set  may not be empty"),
    ({"BS": []}, f"{INVALID}Binary sets should not be empty"),
    ({"SS": ["a", "a"]}, f"{INVALID}Input collection [a, a] contains duplicates."),
    ({"BS": ["Yg==", "Yg=="]}, f"{INVALID}Input collection [Yg==, Yg==]of type BS contains duplicates."),
    ({"NS": ["1", "1"]}, "Input collection contains duplicates"),
    ({"N": ""}, "The parameter cannot be converted to a numeric value"),
    ({"N": "b"}, "The parameter cannot be converted to a numeric value: b"),
    ({"NS": ["1", "b"]}, "The parameter cannot be converted to a numeric value: b"),
    ({"N": "1" * 39}, "Attempting to store more than 38 significant digits in a Number"),
    ({"N": "1e126"}, "Number overflow. Attempting to store a number with magnitude larger than supported range"),
    ({"N": "-1e-131"}, "Number underflow. Attempting to store a number with magnitude smaller than supported range"),
    ({"S": "a", "N": "1"}, TWO_TYPES),
]

GET_ITEM = _rows(
    "GetItem",
    ("no table name", {"TableName": None, "Key": key("1")}, violated(at("tableName", "not be null")), NUBO),
    ("neither table nor key", {"TableName": None}, violated(at("tableName", "not be null"), at("key", "not be null")),
     DYNALITE),
    ("a name of another type before the missing key", {"TableName": 5}, WRONG_TYPE, DYNALITE),
    ("a key that is not a map", {"Key": "p"}, WRONG_TYPE, DYNALITE),
    ("a key value that is not a map", {"Key": {"pk": "p"}}, WRONG_TYPE, DYNALITE),
    ("a wrong type in a key before a constraint", {"Key": {"pk": {"S": 5}}, "ReturnConsumedCapacity": "hi"}, WRONG_TYPE,
     DYNALITE),
    ("a wrong type in a key before an expression", {"Key": {"pk": {"S": 5}}, "ProjectionExpression": ""}, WRONG_TYPE,
     DYNALITE),
    ("a name that is not a string", {"Key": key("1"), "ProjectionExpression": "#a",
     "ExpressionAttributeNames": {"#a": 1}}, WRONG_TYPE, DYNALITE),
    ("a constraint before the expression", {"Key": key("1"), "ReturnConsumedCapacity": "hi",
     "ProjectionExpression": ""},
     violated(not_one_of("returnConsumedCapacity", CAPACITIES)), DYNALITE),
    ("two constraints", {"ReturnConsumedCapacity": "hi"},
     violated(not_one_of("returnConsumedCapacity", CAPACITIES), at("key", "not be null")), DYNALITE),
    ("legacy parameters", {"Key": key("1"), "AttributesToGet": ["x"]}, invalid_with("AttributesToGet"), REFERENCE,
     LEGACY),
    ("legacy parameters beside expressions", {"Key": key("1"), "AttributesToGet": ["x"], "ProjectionExpression": "x"},
     invalid_with("AttributesToGet"), DYNALITE, BOTH),
    ("names without an expression before a bad key", {"Key": {"a": {}}, "ExpressionAttributeNames": {}},
     invalid(NO_NAMES), DYNALITE),
    *[(f"a key with {value} before the expression and the table",
       {"TableName": MISSING, "Key": {"a": value}, "ProjectionExpression": ""}, invalid(says), DYNALITE) for value,
       says in BAD_VALUES],
    ("no names before an empty expression", {"Key": {}, "ProjectionExpression": "", "ExpressionAttributeNames": {}},
     invalid("ExpressionAttributeNames must not be empty"), DYNALITE),
    ("a name without #", {"Key": {}, "ProjectionExpression": "", "ExpressionAttributeNames": {"a": "a"}},
     invalid('ExpressionAttributeNames contains invalid key: Syntax error; key: "a"'), DYNALITE),
    ("an empty expression before the missing table", {"TableName": MISSING, "Key": {}, "ProjectionExpression": ""},
     invalid("Invalid ProjectionExpression: The expression can not be empty;"), DYNALITE),
    ("a syntax error", {"Key": key("1"), "ProjectionExpression": "!!! INVALID !!!"},
     invalid('Invalid ProjectionExpression: Syntax error; token: "!", near: "!!"'), NUBO),
    ("a list position that is a name", {"Key": key("1"), "ProjectionExpression": "a[b]"},
     invalid_with("Invalid ProjectionExpression: Syntax error; "), DYNALITE),
    ("parentheses round a path", {"Key": key("1"), "ProjectionExpression": "(a.b).c"},
     invalid_with("Invalid ProjectionExpression: Syntax error; "), DYNALITE),
    ("a reserved word", {"Key": key("1"), "ProjectionExpression": "a.abORt"},
     invalid("Invalid ProjectionExpression: Attribute name is a reserved keyword; reserved keyword: abORt"), DYNALITE),
    ("an undefined name", {"Key": key("1"), "ProjectionExpression": "#u"},
     invalid(f"Invalid ProjectionExpression: {UNDEFINED_NAME}"), NUBO),
    ("paths that overlap", {"Key": key("1"), "ProjectionExpression": "a, a.b"},
     invalid(f"Invalid ProjectionExpression: Two document paths overlap with each other; {OVERLAP}"), NUBO),
    ("paths that overlap by their names", {"Key": key("1"), "ProjectionExpression": "#a, #b.b",
     "ExpressionAttributeNames": {"#a": "a", "#b": "a"}},
     invalid(f"Invalid ProjectionExpression: Two document paths overlap with each other; {OVERLAP}"), NUBO),
    ("an unused name before the missing table",
     {"TableName": MISSING, "Key": {}, "ProjectionExpression": "a", "ExpressionAttributeNames": {"#u": "b"}},
     invalid(UNUSED_NAMES), DYNALITE),
    ("a missing table", {"TableName": MISSING, "Key": key("1")}, NOT_FOUND, NUBO, HINT),
    ("a missing table before an empty key", {"TableName": MISSING, "Key": {}}, NOT_FOUND, DYNALITE, HINT),
    ("no sort key", {"Key": {"pk": S("p")}}, invalid(MISMATCH), NUBO),
    ("one attribute too many", {"Key": {**key("1"), "c": S("c")}}, invalid(MISMATCH), DYNALITE),
    *[(f"a key of type {kind}", {"Key": {"pk": {kind: value}, "sk": S("1")}}, invalid(MISMATCH), DYNALITE)
      for kind, value in (("N", "1"), ("B", "abcd"), ("BOOL", True), ("NULL", True), ("SS", ["a"]), ("M", {}),
      ("L", []))],
    ("an empty key", {"Key": key("")}, invalid(f"{NOT_VALID}{EMPTY_KEY}sk"), NUBO),
    ("a partition key of 2049 bytes", {"Key": key("1", "p" * 2049)},
     invalid(f"{INVALID}Size of hashkey has exceeded the maximum size limit of2048 bytes"), DYNALITE),
    ("a sort key of 1025 bytes", {"Key": key("s" * 1025)},
     invalid(f"{INVALID}Aggregated size of all range keys has exceeded the size limit of 1024 bytes"), DYNALITE),
    ("a path inside a key", {"Key": key("1"), "ProjectionExpression": "pk.a"}, invalid(SCALARS), DYNALITE),
    ("positions of a list, in any order", {"Key": key("1"), "ProjectionExpression": "l[2], l[0]"},
     {"Item": {"l": {"L": [S("l0"), S("l2")]}}}, NUBO),
    ("no item", {"Key": key("none")}, {"Item": ABSENT}, DYNALITE),
    ("the capacity of an eventual read", {"Key": key("1"), "ReturnConsumedCapacity": "TOTAL"},
     {"ConsumedCapacity": {"TableName": T, "CapacityUnits": 0.5, "Table": ABSENT}}, DYNALITE),
    ("the capacity of a consistent read, by table",
     {"Key": key("1"), "ConsistentRead": True, "ReturnConsumedCapacity": "INDEXES"},
     {"ConsumedCapacity": {"TableName": T, "CapacityUnits": 1.0, "Table": {"CapacityUnits": 1.0}}}, DYNALITE),
)  # fmt: skip

PUT_ITEM = _rows(
    "PutItem",
    ("no table name", {"TableName": None, "Item": key("1")},
     invalid("1 validation error detected: " + at("tableName", "not be null")), NUBO),
    ("an empty table name", {"TableName": "", "Item": key("1")},
     invalid("1 validation error detected: " + at("tableName", "have length greater than or equal to 1", "''")), NUBO),
    ("an empty table name before an empty item", {"TableName": "", "Item": {}}, invalid_with("tableName"), NUBO),
    ("a table name of 256 characters", {"TableName": NAME_256, "Item": key("1")},
     invalid("1 validation error detected: " + at("tableName", "have length less than or equal to 255",
     f"'{NAME_256}'")), NUBO),
    ("a table name with other characters", {"TableName": "bad table!@#", "Item": key("1")},
     invalid("1 validation error detected: " + at("tableName", PATTERN, "'bad table!@#'")), NUBO),
    ("a bad table name before an item without keys", {"TableName": "x!", "Item": {}}, invalid_with("tableName"), NUBO),
    ("three words that do not exist", {"Item": key("1"), "ReturnConsumedCapacity": "hi",
     "ReturnItemCollectionMetrics": "hi", "ReturnValues": "hi"},
     violated(not_one_of("returnConsumedCapacity", CAPACITIES), not_one_of("returnItemCollectionMetrics", METRICS),
     not_one_of("returnValues", RETURNED)),
     DYNALITE),
    ("a wrong type deep in the item before a constraint",
     {"Item": {**key("1"), "m": {"M": {"a": {"L": {}}}}}, "ReturnValues": "hi"}, WRONG_TYPE, DYNALITE),
    ("malformed Base64", {"Item": {**key("1"), "b": {"B": "23456"}}}, WRONG_TYPE, DYNALITE),
    ("malformed Base64 before an unused value",
     {"Item": {**key("1"), "b": {"B": "=+/="}}, "ExpressionAttributeValues": {":u": S("x")}}, WRONG_TYPE, DYNALITE),
    ("legacy parameters beside expressions", {"Item": key("1"), "Expected": {"pk": {"Exists": False}},
     "ConditionExpression": "attribute_not_exists(pk)"},
     invalid_with("Expected"), NUBO, BOTH),
    ("names without an expression before a bad value",
     {"Item": {"a": {}}, "ExpressionAttributeNames": {}, "ExpressionAttributeValues": {}}, invalid(NO_NAMES), DYNALITE),
    ("values without an expression", {"Item": key("1"), "ExpressionAttributeValues": {":v": S("unused")}},
     invalid(f"{NO_VALUES}ConditionExpression is null"), NUBO),
    *[(f"an item with {value} before the expression and the table",
       {"TableName": MISSING, "Item": {"a": value}, "ConditionExpression": ""}, invalid(says), DYNALITE) for value,
       says in BAD_VALUES],
    ("a bad value before ReturnValues", {"Item": {"a": {}}, "ReturnValues": "ALL_NEW"}, invalid(NO_TYPE), DYNALITE),
    ("other ReturnValues before the size and the table",
     {"TableName": MISSING, "Item": {"a": LARGE}, "ReturnValues": "UPDATED_NEW"},
     invalid("ReturnValues can only be ALL_OLD or NONE"), DYNALITE),
    ("a large item before the expression", {"Item": {"a": LARGE}, "ConditionExpression": ""}, invalid(TOO_LARGE),
     DYNALITE),
    ("a large item before the missing table and key", {"TableName": MISSING, "Item": {"a": LARGE}}, invalid(TOO_LARGE),
     DYNALITE),
    ("no names before no values", {"Item": {}, "ConditionExpression": "", "ExpressionAttributeNames": {},
     "ExpressionAttributeValues": {}},
     invalid("ExpressionAttributeNames must not be empty"), DYNALITE),
    ("no values before an empty expression", {"Item": {}, "ConditionExpression": "", "ExpressionAttributeValues": {}},
     invalid("ExpressionAttributeValues must not be empty"), DYNALITE),
    ("a value without :", {"Item": {}, "ConditionExpression": "", "ExpressionAttributeValues": {"b": {}}},
     invalid('ExpressionAttributeValues contains invalid key: Syntax error; key: "b"'), DYNALITE),
    *[(f"a placeholder's value {value} before an empty expression",
     {"Item": {}, "ConditionExpression": "", "ExpressionAttributeValues": {":b": value}},
       invalid(f"ExpressionAttributeValues contains invalid value: {says} for key :b"), DYNALITE) for value,
       says in BAD_VALUES],
    ("an empty expression before the missing table", {"TableName": MISSING, "Item": {}, "ConditionExpression": ""},
     invalid("Invalid ConditionExpression: The expression can not be empty;"), DYNALITE),
    ("redundant parentheses", {"Item": key("1"), "ConditionExpression": "((attribute_not_exists(pk)))"},
     invalid("Invalid ConditionExpression: The expression has redundant parentheses;"), NUBO),
    ("one path as both operands", {"Item": key("1"), "ConditionExpression": "contains(x, x)"},
     invalid_with("Invalid ConditionExpression: The first operand must be distinct from the remaining operands",
     "operator: contains, first operand: [x]"), NUBO),
    ("a reserved word", {"Item": key("1"), "ConditionExpression": "status = :u",
     "ExpressionAttributeValues": {":u": S("x")}},
     invalid("Invalid ConditionExpression: Attribute name is a reserved keyword; reserved keyword: status"), NUBO),
    ("an unused name before an unused value",
     {"Item": key("1"), "ConditionExpression": "attribute_exists(pk)", "ExpressionAttributeNames": {"#u": "x"},
     "ExpressionAttributeValues": {":u": S("x")}}, invalid(UNUSED_NAMES), DYNALITE),
    ("an unused value before the missing table",
     {"TableName": MISSING, "Item": {}, "ConditionExpression": "attribute_exists(pk)",
     "ExpressionAttributeValues": {":u": S("x")}}, invalid(UNUSED_VALUES), DYNALITE),
    ("a missing table", {"TableName": MISSING, "Item": key("1")}, NOT_FOUND, NUBO, HINT),
    ("a missing table before missing keys", {"TableName": MISSING, "Item": {}}, NOT_FOUND, DYNALITE, HINT),
    ("no partition key", {"Item": {"sk": S("1")}}, invalid(f"{INVALID}Missing the key pk in the item"), DYNALITE),
    ("no sort key", {"Item": {"pk": S("p")}}, invalid(f"{INVALID}Missing the key sk in the item"), DYNALITE),
    *[(f"a key of type {kind}", {"Item": {"pk": {kind: value}, "sk": S("1")}},
     invalid(f"{INVALID}Type mismatch for key pk expected: S actual: {kind}"), DYNALITE)
      for kind, value in (("N", "1"), ("BOOL", True), ("L", [S("x")]))],
    ("an empty key", {"Item": key("1", "")}, invalid(f"{NOT_VALID}{EMPTY_KEY}pk"), NUBO),
    ("a partition key of 2049 bytes", {"Item": key("1", "p" * 2049)},
     invalid(f"{INVALID}Size of hashkey has exceeded the maximum size limit of2048 bytes"), DYNALITE),
    ("a sort key of 1025 bytes", {"Item": key("s" * 1025)},
     invalid(f"{INVALID}Aggregated size of all range keys has exceeded the size limit of 1024 bytes"), DYNALITE),
    ("an index key of another type", {"Item": {**key("new"), "g": N("1")}},
     invalid_with(f"{INVALID}Type mismatch for Index Key g Expected: S Actual: N IndexName: "), DYNALITE),
    ("an empty index key", {"Item": {**key("new"), "g": S("")}}, invalid_with("secondary index key"), NUBO),
    ("an index key of another type before the condition",
     {"Item": {**key("1"), "g": N("1")}, "ConditionExpression": "attribute_not_exists(pk)"},
     invalid_with("Type mismatch for Index Key g"), DYNALITE),
    ("a condition that does not hold", {"Item": key("1"), "ConditionExpression": "attribute_not_exists(pk)"},
     CHECK_FAILED, NUBO),
    ("a key of 2048 and one of 1024 bytes", {"Item": key("s" * 1024, "p" * 2048)}, {"Attributes": ABSENT}, NUBO),
    ("empty values",
     {"Item": {**key("empty", "new"), "s": S(""), "b": {"B": ""}, "l": {"L": [S("")]}, "t": {"SS": ["", "a"]}}}, {},
     NUBO),
    ("the old item", {"Item": key("put", "old"), "ReturnValues": "ALL_OLD"}, {"Attributes": {"a": S("a"), "b": S("b")}},
     ALTERNATOR),
    ("no old item", {"Item": key("first", "new"), "ReturnValues": "ALL_OLD"}, {"Attributes": ABSENT}, ALTERNATOR),
)  # fmt: skip

DELETE_ITEM = _rows(
    "DeleteItem",
    ("an empty table name before an empty key", {"TableName": "", "Key": {}}, invalid_with("tableName"), NUBO),
    ("two words that do not exist", {"Key": key("1"), "ReturnValues": "hi", "ReturnConsumedCapacity": "hi"},
     violated(not_one_of("returnConsumedCapacity", CAPACITIES), not_one_of("returnValues", RETURNED)), NUBO),
    ("no key", {}, violated(at("key", "not be null")), DYNALITE),
    ("values without an expression", {"Key": {"a": {}}, "ExpressionAttributeValues": {}},
     invalid(f"{NO_VALUES}ConditionExpression is null"), DYNALITE),
    ("a key without a type before ReturnValues", {"Key": {"a": {}}, "ReturnValues": "ALL_NEW"}, invalid(NO_TYPE),
     DYNALITE),
    ("other ReturnValues before the missing table", {"TableName": MISSING, "Key": {}, "ReturnValues": "ALL_NEW"},
     invalid("ReturnValues can only be ALL_OLD or NONE"), DYNALITE),
    ("legacy parameters", {"Key": key("1"), "Expected": {}, "ConditionalOperator": "AND"},
     invalid_with("legacy parameter"), REFERENCE, LEGACY),
    ("a missing table before the key", {"TableName": MISSING, "Key": {}}, NOT_FOUND, DYNALITE, HINT),
    ("no sort key", {"Key": {"pk": S("p")}}, invalid(MISMATCH), NUBO),
    ("a wrong key before the condition", {"Key": {"pk": S("p")}, "ConditionExpression": "attribute_not_exists(pk)"},
     invalid(MISMATCH), DYNALITE),
    ("a condition that does not hold, with the item", {"Key": key("check", "old"), "ConditionExpression": "a = :a",
     "ExpressionAttributeValues": {":a": S("z")}, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}, CHECK_FAILED,
     NUBO),
    ("a condition on no item", {"Key": key("none"), "ConditionExpression": "attribute_exists(pk)"}, CHECK_FAILED,
     ALTERNATOR),
    ("no item", {"Key": key("none"), "ReturnValues": "ALL_OLD"}, {"Attributes": ABSENT}, ALTERNATOR),
    ("the old item", {"Key": key("delete", "old"), "ReturnValues": "ALL_OLD"},
     {"Attributes": {"a": S("a"), "b": S("b")}}, ALTERNATOR),
)  # fmt: skip


def _update(expression: str, values: dict[str, Any] | None = None, sk: str = "1", **more: Any) -> dict[str, Any]:
    return {"Key": key(sk), "UpdateExpression": expression, "ExpressionAttributeValues": values, **more}


UPDATE_ITEM = _rows(
    "UpdateItem",
    ("an empty table name before an empty key", {"TableName": "", "Key": {}}, invalid_with("tableName"), NUBO),
    ("two words that do not exist", {"Key": key("1"), "ReturnValues": "hi", "ReturnConsumedCapacity": "hi"},
     violated(not_one_of("returnConsumedCapacity", CAPACITIES), not_one_of("returnValues", RETURNED)), NUBO),
    ("values without an expression", {"Key": {"a": {}}, "ExpressionAttributeValues": {}},
     invalid(f"{NO_VALUES}UpdateExpression and ConditionExpression are null"), DYNALITE),
    ("legacy parameters beside expressions", {**_update("SET a = :v", {":v": S("x")}),
     "AttributeUpdates": {"a": {"Value": S("x"), "Action": "PUT"}}},
     invalid_with("AttributeUpdates"), NUBO, BOTH),
    ("a bad key value before everything in the expressions",
     {"Key": {"a": {"L": [{}]}}, "UpdateExpression": "", "ExpressionAttributeNames": {},
     "ExpressionAttributeValues": {}}, invalid(NO_TYPE), DYNALITE),
    ("an invalid value before an empty expression",
     {"Key": {}, "UpdateExpression": "", "ExpressionAttributeValues": {":b": {"M": {"a": {}}}}},
     invalid(f"ExpressionAttributeValues contains invalid value: {NO_TYPE} for key :b"), DYNALITE),
    ("an empty update before an empty condition", {"Key": {}, "UpdateExpression": "", "ConditionExpression": ""},
     invalid("Invalid UpdateExpression: The expression can not be empty;"), DYNALITE),
    ("a syntax error at the start", _update("INVALID SYNTAX HERE", {":v": S("x")}),
     invalid('Invalid UpdateExpression: Syntax error; token: "INVALID", near: "INVALID SYNTAX"'), NUBO),
    ("a name that starts with _", _update("SET _123 = :v", {":v": N("1")}),
     invalid('Invalid UpdateExpression: Syntax error; token: "_", near: "SET _123"'), ALTERNATOR),
    ("a placeholder with a space", _update("ADD hits : incr", {":incr": N("1")}),
     invalid('Invalid UpdateExpression: Syntax error; token: ":", near: "hits : incr"'), "aws-cdk#7591"),
    ("an unfinished update", _update("SET a ="),
     invalid('Invalid UpdateExpression: Syntax error; token: "<EOF>", near: "="'), NUBO),
    ("three operands of +", _update("SET a = :v + :v + :v", {":v": N("1")}),
     invalid_with("Invalid UpdateExpression: Syntax error; "), ALTERNATOR),
    ("a value on the left", _update("SET :v = :v", {":v": N("1")}),
     invalid_with("Invalid UpdateExpression: Syntax error; "), ALTERNATOR),
    ("two SET sections", _update("SET a = :v SET b = :v", {":v": N("1")}),
     invalid('Invalid UpdateExpression: The "SET" section can only be used once in an update expression;'), ALTERNATOR),
    ("SET and REMOVE of one path", _update("SET a = :v REMOVE a", {":v": N("1")}),
     invalid_with("Invalid UpdateExpression: Two document paths overlap with each other; ",
     "path one: [a], path two: [a]"), ALTERNATOR),
    ("a map and a list at one place", _update("SET a.b = :v, a[1] = :v", {":v": N("1")}),
     invalid_with("Invalid UpdateExpression: Two document paths conflict"), ALTERNATOR),
    ("a sum with a string", _update("SET a = :v + :v", {":v": S("dog")}),
     invalid(f"Invalid UpdateExpression: {WRONG_OPERAND}+, operand type: S"), ALTERNATOR),
    ("ADD of a string", _update("ADD a :v", {":v": S("x")}),
     invalid_with("Invalid UpdateExpression: Incorrect operand type for operator or function; operator: ADD"),
     DYNALITE),
    ("DELETE of a number", _update("DELETE a :v", {":v": N("1")}),
     invalid_with("Invalid UpdateExpression: Incorrect operand type for operator or function; operator: DELETE"),
     DYNALITE),
    ("an unknown function", _update("SET a = dog(b)"),
     invalid_with("Invalid UpdateExpression: Invalid function name; function: dog"), DYNALITE),
    ("an undefined value", _update("SET a = :v"),
     invalid(f"Invalid UpdateExpression: {UNDEFINED_VALUE}"), NUBO),
    ("an undefined name", _update("SET #u = :v", {":v": N("1")}),
     invalid(f"Invalid UpdateExpression: {UNDEFINED_NAME}"), DYNALITE),
    ("an undefined value of the condition", _update("SET b = :w", {":w": S("x")}, ConditionExpression="a = :v"),
     invalid_with(f"Invalid ConditionExpression: {UNDEFINED_VALUE}"), NUBO),
    ("an unused name", _update("SET a = :v", {":v": S("x")}, ExpressionAttributeNames={"#u": "b"}),
     invalid(UNUSED_NAMES), NUBO),
    ("an unused value", _update("SET a = :v", {":v": S("x"), ":u": S("x")}), invalid(UNUSED_VALUES), NUBO),
    ("an unused value before the missing table", _update("SET a = :v", {":v": S("x"), ":u": S("x")}, TableName=MISSING),
     invalid(UNUSED_VALUES), DYNALITE),
    ("a missing table before the key", {"TableName": MISSING, "Key": {}}, NOT_FOUND, DYNALITE, HINT),
    ("a missing table before an update of the key", _update("SET pk = :v", {":v": S("x")}, TableName=MISSING),
     NOT_FOUND, DYNALITE, HINT),
    ("a wrong key before an update of the key", {"Key": {"pk": S("p")}, "UpdateExpression": "REMOVE pk"},
     invalid(MISMATCH), DYNALITE),
    *[(f"an update of a key: {text}", _update(text, values),
     invalid(f"{INVALID}Cannot update attribute {name}. This attribute is part of the key"), source)
      for name, text, values, source in (
          ("pk", "SET pk = :v", {":v": S("x")}, NUBO), ("sk", "SET sk = :v", {":v": S("x")}, NUBO),
          ("sk", "REMOVE sk", None, ALTERNATOR), ("pk", "ADD pk :v", {":v": N("1")}, ALTERNATOR),
           ("sk", "DELETE sk :v", {":v": {"SS": ["a"]}}, ALTERNATOR))],
    ("an index key of another type", _update("SET g = :v", {":v": N("1")}), invalid_with("mismatch for Index Key g"),
     ALTERNATOR),
    ("an empty index key", _update("SET g = :v", {":v": S("")}), invalid_with("secondary index key"), NUBO),
    ("a copy of an absent attribute", _update("SET a = z"),
     invalid_with("The provided expression refers to an attribute that does not exist in the item"), ALTERNATOR),
    ("an attribute set before it is read", _update("SET z = :v, y = z", {":v": N("1")}),
     invalid_with("refers to an attribute that does not exist"), ALTERNATOR),
    ("a path through a string", _update("SET x.y = :v", {":v": N("1")}),
     invalid_with("document path provided in the update expression is invalid for update"), ALTERNATOR),
    ("a failed condition before a bad operand",
     _update("SET a = x + :v", {":v": N("1")}, ConditionExpression="attribute_not_exists(pk)"), CHECK_FAILED,
     ALTERNATOR),
    ("a sum of a string and a number", _update("SET a = x + :v", {":v": N("1")}),
     invalid_with("An operand in the update expression has an incorrect data type"), DYNALITE),
    ("an item that becomes too large", _update("SET a = :v", {":v": LARGE}),
     invalid("Item size to update has exceeded the maximum allowed size"), NUBO),
    ("REMOVE alone on no item", {"Key": key("none"), "UpdateExpression": "REMOVE a", "ReturnValues": "ALL_NEW"},
     {"Attributes": ABSENT}, ALTERNATOR),
    ("the updated attributes", {**_update("SET b = :v", {":v": S("new")}), "Key": key("update", "old"),
     "ReturnValues": "UPDATED_NEW"},
     {"Attributes": {"b": S("new"), "a": ABSENT}}, ALTERNATOR),
    ("the attributes before the update", {**_update("SET b = :v, c = :v", {":v": S("new")}),
     "Key": key("updated", "old"), "ReturnValues": "UPDATED_OLD"},
     {"Attributes": {"b": S("b"), "c": ABSENT}}, ALTERNATOR),
    ("the new item without an expression", {"Key": key("bare", "new"), "ReturnValues": "ALL_NEW"},
     {"Attributes": key("bare", "new")}, DYNALITE),
)  # fmt: skip


def _query(condition: str, values: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"KeyConditionExpression": condition, "ExpressionAttributeValues": values, **more}


P, PV = {":p": S("p")}, {":p": S("p"), ":v": S("2")}
NOT_OPERATORS = [
    ("a > b and size(b) > c or a > c", "OR"), ("a in (b, size(c), d)", "IN"),
     ("attribute_exists(a)", "attribute_exists"),
    ("attribute_not_exists(a)", "attribute_not_exists"), ("contains(a.d, b)", "contains"), ("not a > b", "NOT"),
     ("a <> b", "<>"),
]  # fmt: skip
STARTS: list[Any] = [{}, {"sk": S("a")}, {"pk": S("p")}, {"bad": S("p")}, {**key("1"), "z": N("1")}]
NO_ATTRIBUTES = re.compile("Must specify the .*ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES$")
SHORT_START = "The provided starting key is invalid"

QUERY = _rows(
    "Query",
    ("no table name", {"TableName": None}, violated(at("tableName", "not be null")), DYNALITE),
    ("a bad table name before a bad Select", _query("pk = :p", P, TableName="abc!", Select="hi"),
     invalid_with("validation error", "tableName"), NUBO),
    ("Select", _query("pk = :p", P, Select="hi"),
     violated(not_one_of("select", "SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES")), NUBO),
    ("Limit 0", _query("pk = :p", P, Limit=0),
     invalid(re.compile("Value ('0' )?at '[Ll]imit' .*: Member must have value greater than or equal to 1$")), NUBO),
    ("Limit as a string before a bad Select", _query("pk = :p", P, Limit="23", Select="hi"), WRONG_TYPE, DYNALITE),
    ("a short index name", _query("pk = :p", P, IndexName="a;"),
     violated(at("indexName", PATTERN, "'a;'"), at("indexName", "have length greater than or equal to 3", "'a;'")),
     DYNALITE),
    ("legacy key conditions", {"KeyConditions": {"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [S("p")]}}},
     invalid_with("KeyConditions"), REFERENCE, LEGACY),
    ("a legacy filter beside expressions", _query("pk = :p", P, QueryFilter={}), invalid_with("QueryFilter"), DYNALITE,
     BOTH),
    ("names without expressions", {"ExpressionAttributeNames": {}, "ExpressionAttributeValues": {}}, invalid(NO_NAMES),
     DYNALITE),
    ("values without expressions", {"ExpressionAttributeValues": {}},
     invalid(f"{NO_VALUES}FilterExpression and KeyConditionExpression are null"), DYNALITE),
    *[(f"a start with {value} before the expression", {"ExclusiveStartKey": {"a": value}, "KeyConditionExpression": ""},
     invalid_with(says), DYNALITE)
      for value, says in BAD_VALUES],
    ("no key condition before the missing table", {"TableName": MISSING},
     invalid_with("Either the KeyConditions or KeyConditionExpression"), DYNALITE),
    ("no key condition before an empty filter", {"FilterExpression": ""},
     invalid_with("Either the KeyConditions or KeyConditionExpression"), DYNALITE),
    ("an empty key condition before an empty filter",
     _query("", {":0": S("b")}, FilterExpression="", ProjectionExpression=""),
     invalid("Invalid KeyConditionExpression: The expression can not be empty;"), DYNALITE),
    ("a key condition's syntax", _query("pk = :p AND sk != :v", PV),
     invalid_with("Invalid KeyConditionExpression: Syntax error; "), ALTERNATOR),
    ("redundant parentheses", _query("((pk = :p))", P),
     invalid("Invalid KeyConditionExpression: The expression has redundant parentheses;"), NUBO),
    ("an empty filter before a key condition's operator",
     _query("attribute_type(a, :a)", {":a": S("N")}, FilterExpression="", ProjectionExpression=""),
     invalid("Invalid FilterExpression: The expression can not be empty;"), DYNALITE),
    ("an empty projection before a key condition's operator",
     _query("attribute_type(a, :a)", {":a": S("N")}, FilterExpression="a > b", ProjectionExpression=""),
     invalid("Invalid ProjectionExpression: The expression can not be empty;"), DYNALITE),
    ("an undefined name of the filter", _query("pk = :p", P, FilterExpression="#u = :p"),
     invalid(f"Invalid FilterExpression: {UNDEFINED_NAME}"), NUBO),
    ("an unused name", _query("pk = :p", P, ExpressionAttributeNames={"#u": "a"}), invalid(UNUSED_NAMES), NUBO),
    ("an unused value before a key condition's operator", _query("attribute_exists(a)", {":u": S("x")}),
     invalid(UNUSED_VALUES), DYNALITE),
    *[(f"a key condition with {operator} before the missing table",
     {"TableName": MISSING, "KeyConditionExpression": text},
       invalid(f"Invalid operator used in KeyConditionExpression: {operator}"), DYNALITE) for text,
       operator in NOT_OPERATORS],
    ("an unknown function", _query("pk = :p AND dog(sk, :v)", PV), invalid_with("dog"), ALTERNATOR),
    ("begins_with of a number", _query("pk = :p AND begins_with(sk, :v)", {**P, ":v": N("3")}),
     invalid_with("begins_with"), ALTERNATOR),
    ("a value before BETWEEN", _query(":v between sk and pk", {":v": S("1")}),
     invalid("Invalid condition in KeyConditionExpression: BETWEEN operator must have the key "
             "attribute as its first operand"), DYNALITE),
    ("a value before begins_with", _query("begins_with(:v, sk) and pk > :v", {":v": S("1")}),
     invalid("Invalid condition in KeyConditionExpression: begins_with operator must have the key "
             "attribute as its first operand"), DYNALITE),
    *[(f"a nested operation: {text}", {"KeyConditionExpression": text},
     invalid("KeyConditionExpressions cannot contain nested operations"), DYNALITE)
      for text in ("size(b) > a AND a.b > b", "a > size(b.d)", "a between size(b) and size(a)")],
    *[(f"several attributes: {text}", {"KeyConditionExpression": text},
       invalid("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition"), DYNALITE)
      for text in ("b > a.b", "b between c[1] and d", "begins_with(a, b)")],
    *[(f"a nested attribute: {text}", _query(text, P),
     invalid("KeyConditionExpressions cannot have conditions on nested attributes"), source)
      for text, source in (("a.d > :p", DYNALITE), ("b[0] > :p", DYNALITE), ("pk = :p AND sk.a = :p", NUBO))],
    ("no attribute", _query(":v > :p AND a < :v", PV),
     invalid("Invalid condition in KeyConditionExpression: No key attribute specified"), DYNALITE),
    *[(f"two conditions on a key: {text}", _query(text, {":p": N("1")}),
     invalid("KeyConditionExpressions must only contain one condition per key"), DYNALITE)
      for text in ("b > :p AND b < :p and c = :p and d = :p", "(a > :p and b > :p) and (b > :p and c > :p)")],
    *[(f"conditions on three attributes: {text}", _query(text, P, TableName=MISSING),
     invalid("Conditions can be of length 1 or 2 only"), DYNALITE)
      for text in (":p = a and b = :p and :p = c", "(a > :p and b > :p) and (c > :p and d > :p)")],
    ("BETWEEN of two types", _query("a between :b and :a", {":a": S("a"), ":b": N("1")}),
     invalid("Invalid KeyConditionExpression: The BETWEEN operator requires same data type for lower and upper bounds; "
             "lower bound operand: AttributeValue: {N:1}, upper bound operand: AttributeValue: {S:a}"), DYNALITE),
    ("BETWEEN in the wrong order", _query("a between :b and :a", {":a": S("a"), ":b": S("b")}),
     invalid("Invalid KeyConditionExpression: The BETWEEN operator requires upper bound to be greater than or equal to "
             "lower bound; "
             "lower bound operand: AttributeValue: {S:b}, upper bound operand: AttributeValue: {S:a}"), DYNALITE),
    ("a missing table", _query("pk = :p", P, TableName=MISSING), NOT_FOUND, NUBO, HINT),
    ("a missing table before the keys and the start",
     _query("z = :a", {":a": N("1")}, TableName=MISSING, ExclusiveStartKey={"b": S("a")}), NOT_FOUND, DYNALITE, HINT),
    ("a missing table before the index", _query("pk = :p", P, TableName=MISSING, IndexName="none"), NOT_FOUND, DYNALITE,
     HINT),
    ("no such index", _query("pk = :p", P, IndexName="none"),
     invalid_with("The table does not have the specified index: none"), NUBO),
    ("no such index before the keys and the start", _query("z = :p", P, IndexName="none", ExclusiveStartKey={}),
     invalid_with("The table does not have the specified index: none"), DYNALITE),
    ("a consistent read of a global index", _query("g = :p", P, IndexName="by-g", ConsistentRead=True),
     invalid("Consistent reads are not supported on global secondary indexes"), NUBO),
    ("a consistent read before the keys and the start",
     _query("z = :p", P, IndexName="by-g", ConsistentRead=True, ExclusiveStartKey={}),
     invalid("Consistent reads are not supported on global secondary indexes"), DYNALITE),
    *[(f"the start {start} before the keys", _query("z = :p", P, ExclusiveStartKey=start), invalid(SHORT_START),
     DYNALITE) for start in STARTS],
    ("an index's start without its key", _query("g = :p", P, IndexName="by-g", ExclusiveStartKey=key("1")),
     invalid(SHORT_START), DYNALITE),
    ("a start of another type before the keys", _query("z = :p", P, ExclusiveStartKey={"pk": N("1"), "sk": S("1")}),
     invalid_with(MISMATCH), DYNALITE),
    ("no partition key", _query("sk = :p", P), invalid("Query condition missed key schema element: pk"), NUBO),
    ("another attribute", _query("x = :p", P), invalid("Query condition missed key schema element: pk"), NUBO),
    ("another attribute beside the partition key", _query("pk = :p AND x = :p", P),
     invalid("Query condition missed key schema element: sk"), DYNALITE),
    ("a range of partition keys", _query("pk < :p", P), invalid("Query key condition not supported"), DYNALITE),
    ("a partition key of another type", _query("pk = :p", {":p": N("3")}),
     invalid(f"{INVALID}Condition parameter type does not match schema type"), DYNALITE),
    ("a sort key of another type", _query("pk = :p AND sk = :v", {**P, ":v": N("3")}), invalid_with("type"),
     ALTERNATOR),
    ("a start in another partition", _query("pk = :p", P, ExclusiveStartKey=key("1", "q")),
     invalid("The provided starting key is outside query boundaries based on provided conditions"), DYNALITE),
    ("a start outside the range", _query("pk = :p AND sk > :v", PV, ExclusiveStartKey=key("1")),
     invalid("The provided starting key does not match the range key predicate"), DYNALITE),
    ("a filter on a key", _query("pk = :p", P, FilterExpression="pk = :p"),
     invalid("Filter Expression can only contain non-primary key attributes: Primary key attribute: pk"), DYNALITE),
    ("a start in another partition before a filter on a key",
     _query("pk = :p", P, FilterExpression="sk = :p", ExclusiveStartKey=key("1", "q")),
     invalid_with("outside query boundaries"), DYNALITE),
    ("a path inside a key", _query("pk = :p", P, ProjectionExpression="pk.a"), invalid(SCALARS), DYNALITE),
    ("all attributes of an index with keys", _query("g = :p", P, IndexName="keys-only", Select="ALL_ATTRIBUTES"),
     invalid(f"{INVALID}Select type ALL_ATTRIBUTES is not supported for global secondary index keys-only because its "
      f"projection type is not ALL"), DYNALITE),
    ("SPECIFIC_ATTRIBUTES without attributes", _query("pk = :p", P, Select="SPECIFIC_ATTRIBUTES"),
     invalid(NO_ATTRIBUTES), NUBO),
    ("ALL_PROJECTED_ATTRIBUTES of a table", _query("pk = :p", P, Select="ALL_PROJECTED_ATTRIBUTES"),
     invalid_with("ALL_PROJECTED_ATTRIBUTES"), REFERENCE),
    ("a projection beside COUNT", _query("pk = :p", P, Select="COUNT", ProjectionExpression="x"),
     invalid_with("ProjectionExpression", "Count"), REFERENCE),
    ("the value first", _query(":p = pk AND :v <= sk", PV), {"Count": 2, "ScannedCount": 2}, NUBO),
    ("parentheses inside parentheses", _query("(pk = :p AND (sk = :v))", PV), {"Count": 1}, NUBO),
    ("parentheses round each condition", _query("((sk = :v) AND (pk = :p))", PV), {"Count": 1}, ALTERNATOR),
    ("words in any case", _query("pk = :p aNd sk BeTwEeN :v AND :v", PV), {"Count": 1}, ALTERNATOR),
    ("a page that ends", _query("pk = :p", P, Limit=1, Select="COUNT"),
     {"Count": 1, "Items": ABSENT, "LastEvaluatedKey": key("1")}, REFERENCE),
    ("a page of an index", _query("g = :p", {":p": S("red")}, IndexName="by-g", Limit=1),
     {"LastEvaluatedKey": {**key("1"), "g": S("red"), "n": N("1")}}, REFERENCE),
    ("what an index projects", _query("g = :p", {":p": S("red")}, IndexName="keys-only", Limit=1),
     {"Items": [{**key("1"), "g": S("red"), "x": ABSENT}]}, NUBO),
    ("backwards", _query("pk = :p", P, Limit=1, ScanIndexForward=False), {"Items": [{"sk": S("3")}]}, REFERENCE),
)  # fmt: skip

NO_TOTAL = (
    "The TotalSegments parameter is required but was not present in the request when Segment parameter is present"
)
NO_SEGMENT = (
    "The Segment parameter is required but was not present in the request when parameter TotalSegments is present"
)

SCAN = _rows(
    "Scan",
    ("Limit 0", {"Limit": 0},
     invalid(re.compile("Value ('0' )?at '[Ll]imit' .*: Member must have value greater than or equal to 1$")), NUBO),
    ("a negative segment", {"Segment": -1, "TotalSegments": 4},
     invalid(re.compile("Value ('-1' )?at '[Ss]egment' .*: Member must have value greater than or equal to 0$")), NUBO),
    ("a million and one segments", {"Segment": 0, "TotalSegments": 1_000_001},
     invalid_with("otalSegments", "less than or equal to 1000000"), REFERENCE),
    ("a legacy filter", {"ScanFilter": {}}, invalid_with("ScanFilter"), REFERENCE, LEGACY),
    ("values without an expression", {"ExpressionAttributeValues": {}}, invalid(f"{NO_VALUES}FilterExpression is null"),
     DYNALITE),
    ("values beside a projection alone", {"ExpressionAttributeValues": {}, "ProjectionExpression": ""},
     invalid(f"{NO_VALUES}FilterExpression is null"), DYNALITE),
    ("a start without a type before the segments", {"ExclusiveStartKey": {"a": {}}, "Segment": 1},
     invalid(f"The provided starting key is invalid: {NO_TYPE}"), DYNALITE),
    ("a segment without their number", {"Segment": 0}, invalid(NO_TOTAL), NUBO),
    ("a number of segments without one", {"TotalSegments": 4}, invalid(NO_SEGMENT), NUBO),
    ("a segment beyond their number", {"Segment": 5, "TotalSegments": 5},
     invalid_with("Segment: 5 is not less than TotalSegments: 5"), NUBO),
    ("the segments before the expression", {"TotalSegments": 4, "FilterExpression": ""}, invalid(NO_SEGMENT), DYNALITE),
    ("an empty filter before an empty projection",
     {"FilterExpression": "", "ProjectionExpression": "", "TableName": MISSING},
     invalid("Invalid FilterExpression: The expression can not be empty;"), DYNALITE),
    ("redundant parentheses", {"FilterExpression": "((x = :v))", "ExpressionAttributeValues": {":v": S("x")}},
     invalid("Invalid FilterExpression: The expression has redundant parentheses;"), NUBO),
    ("begins_with of a number", {"FilterExpression": "begins_with(x, :v)", "ExpressionAttributeValues": {":v": N("1")}},
     invalid(f"Invalid FilterExpression: {WRONG_OPERAND}begins_with, operand type: N"), NUBO),
    ("a function with too many operands", {"FilterExpression": "attribute_exists(a, b)"},
     invalid("Invalid FilterExpression: Incorrect number of operands for operator or function; "
             "operator or function: attribute_exists, number of operands: 2"), DYNALITE),
    ("a function as a value", {"FilterExpression": "attribute_exists(a) = b"},
     invalid("Invalid FilterExpression: The function is not allowed to be used this way in an expression; "
             "function: attribute_exists"), DYNALITE),
    ("an unknown type", {"FilterExpression": "attribute_type(a, :v)", "ExpressionAttributeValues": {":v": S("A")}},
     invalid_with("Invalid FilterExpression: Invalid attribute type name found; type: A, valid types: {"), DYNALITE),
    ("an undefined projection where nothing matches",
     {"FilterExpression": "x = :v", "ExpressionAttributeValues": {":v": S("no")}, "ProjectionExpression": "#u"},
     invalid_with(f"Invalid ProjectionExpression: {UNDEFINED_NAME}"), NUBO),
    ("a missing table before the start", {"TableName": MISSING, "ExclusiveStartKey": {}}, NOT_FOUND, DYNALITE, HINT),
    ("no such index before the start", {"IndexName": "none", "ExclusiveStartKey": {}},
     invalid_with("The table does not have the specified index: none"), DYNALITE),
    ("a consistent read of a global index", {"IndexName": "by-g", "ConsistentRead": True},
     invalid("Consistent reads are not supported on global secondary indexes"), REFERENCE),
    *[(f"the start {start}", {"ExclusiveStartKey": start}, invalid(re.compile(f"{SHORT_START}(: {MISMATCH})?$")), NUBO)
     for start in STARTS],
    ("a path inside a key", {"ProjectionExpression": "pk[0]"}, invalid(SCALARS), DYNALITE),
    ("SPECIFIC_ATTRIBUTES without attributes", {"Select": "SPECIFIC_ATTRIBUTES"},
     invalid(NO_ATTRIBUTES), NUBO),
    ("a filter on a key", {"FilterExpression": "pk = :v", "ExpressionAttributeValues": {":v": S("none")}}, {"Count": 0},
     NUBO),
    ("an index with fewer items than the table", {"IndexName": "by-n"}, {"Count": 3, "ScannedCount": 3}, NUBO),
)  # fmt: skip

KEYS_101 = [key(str(number)) for number in range(101)]
PUTS_26 = [{"PutRequest": {"Item": key(str(number), "new")}} for number in range(26)]

BATCH_GET_ITEM = _rows(
    "BatchGetItem",
    ("no RequestItems", {}, violated(at("requestItems", "not be null")), DYNALITE),
    ("no RequestItems, and a word that does not exist", {"ReturnConsumedCapacity": "hi"},
     violated(not_one_of("returnConsumedCapacity", CAPACITIES), at("requestItems", "not be null")), DYNALITE),
    ("empty RequestItems", {"RequestItems": {}}, invalid("The requestItems parameter is required for BatchGetItem"),
     NUBO),
    ("RequestItems that are a list", {"RequestItems": []}, WRONG_TYPE, DYNALITE),
    ("a wrong type in a key before 101 keys", {"RequestItems": {T: {"Keys": [*KEYS_101, {"pk": {"S": 1}}]}}},
     WRONG_TYPE, DYNALITE),
    ("no Keys", {"RequestItems": {T: {}}}, violated(at(f"requestItems.{T}.member.keys", "not be null")), DYNALITE),
    ("empty Keys", {"RequestItems": {T: {"Keys": []}}},
     violated(at(f"requestItems.{T}.member.keys", "have length greater than or equal to 1", "'[]'")), DYNALITE),
    ("101 keys", {"RequestItems": {T: {"Keys": KEYS_101}}},
     invalid(re.compile(rf"Value ('\[.+\]' )?at '[Rr]equestItems\.{T}\.member\.[Kk]eys' .*: Member must have length "
      rf"less than or equal to 100$")), NUBO),
    ("101 keys of two tables", {"RequestItems": {T: {"Keys": KEYS_101[:100]}, MISSING: {"Keys": [key("1")]}}},
     invalid("Too many items requested for the BatchGetItem call"), DYNALITE),
    ("legacy parameters", {"RequestItems": {T: {"Keys": [key("1")], "AttributesToGet": ["x"]}}},
     invalid_with("AttributesToGet"), REFERENCE, LEGACY),
    ("names without an expression", {"RequestItems": {T: {"Keys": [{}], "ExpressionAttributeNames": {}}}},
     invalid(NO_NAMES), DYNALITE),
    ("an empty expression before duplicate keys",
     {"RequestItems": {T: {"Keys": [key("1"), key("1")], "ProjectionExpression": ""}}},
     invalid("Invalid ProjectionExpression: The expression can not be empty;"), DYNALITE),
    ("a key without a type before the missing table", {"RequestItems": {MISSING: {"Keys": [{"a": {}}]}}},
     invalid(NO_TYPE), DYNALITE),
    ("duplicate keys", {"RequestItems": {T: {"Keys": [key("1"), key("1")]}}},
     invalid("Provided list of item keys contains duplicates"), NUBO),
    ("duplicate keys before the missing table", {"RequestItems": {MISSING: {"Keys": [key("1"), key("1")]}}},
     invalid("Provided list of item keys contains duplicates"), DYNALITE),
    ("a missing table", {"RequestItems": {MISSING: {"Keys": [key("1")]}}}, NOT_FOUND, NUBO, HINT),
    ("a missing table before an empty key", {"RequestItems": {MISSING: {"Keys": [{}]}}}, NOT_FOUND, DYNALITE, HINT),
    ("no sort key", {"RequestItems": {T: {"Keys": [{"pk": S("p")}]}}}, invalid(MISMATCH), DYNALITE),
    ("keys with no items", {"RequestItems": {T: {"Keys": [key("none")]}}},
     {"Responses": {T: []}, "UnprocessedKeys": {}}, ALTERNATOR),
    ("an unused name",
     {"RequestItems": {T: {"Keys": [key("1")], "ProjectionExpression": "x", "ExpressionAttributeNames": {"#u": "u"}}}},
     invalid(UNUSED_NAMES), ALTERNATOR),
    table=None,
)  # fmt: skip

BATCH_WRITE_ITEM = _rows(
    "BatchWriteItem",
    ("no RequestItems", {}, violated(at("requestItems", "not be null")), DYNALITE),
    ("empty RequestItems", {"RequestItems": {}}, invalid("The requestItems parameter is required for BatchWriteItem"),
     NUBO),
    ("a wrong type in an item before 26 writes",
     {"RequestItems": {T: [*PUTS_26, {"PutRequest": {"Item": {"a": {"S": 1}}}}]}}, WRONG_TYPE, DYNALITE),
    ("a put without an item and a delete without a key",
     {"RequestItems": {T: [{"PutRequest": {}, "DeleteRequest": {}}]}},
     violated(at(f"requestItems.{T}.member.1.member.deleteRequest.key", "not be null"),
     at(f"requestItems.{T}.member.1.member.putRequest.item", "not be null")), DYNALITE),
    ("26 writes", {"RequestItems": {T: PUTS_26}},
     invalid(re.compile(rf"^1 validation error detected: Value '\{{{T}=\[.+\]\}}' at 'requestItems' failed to satisfy "
      rf"constraint: Map value must satisfy "
                        r"constraint: \[Member must have length less than or equal to 25, Member must have length "
                         r"greater than or equal to 1\]$")), NUBO),
    ("no writes of a table", {"RequestItems": {T: []}},
     invalid_with("requestItems", "Member must have length greater than or equal to 1"), DYNALITE),
    ("26 writes of two tables", {"RequestItems": {T: PUTS_26[:25], MISSING: PUTS_26[:1]}},
     invalid("Too many items requested for the BatchWriteItem call"), REFERENCE),
    ("a write that is neither", {"RequestItems": {T: [{}]}}, invalid(TWO_TYPES), DYNALITE),
    ("a value without a type before the missing table",
     {"RequestItems": {MISSING: [{"PutRequest": {"Item": {"a": {}}}}]}}, invalid(NO_TYPE), DYNALITE),
    ("a large item before the missing table", {"RequestItems": {MISSING: [{"PutRequest": {"Item": {"a": LARGE}}}]}},
     invalid(TOO_LARGE), DYNALITE),
    ("a missing table", {"RequestItems": {MISSING: [{"PutRequest": {"Item": key("1")}}]}}, NOT_FOUND, NUBO, HINT),
    ("a missing table before duplicate keys",
     {"RequestItems": {MISSING: [{"PutRequest": {"Item": key("1")}}, {"DeleteRequest": {"Key": key("1")}}]}}, NOT_FOUND,
     DYNALITE, HINT),
    ("a put and a delete of one key",
     {"RequestItems": {T: [{"PutRequest": {"Item": key("1")}}, {"DeleteRequest": {"Key": key("1")}}]}},
     invalid("Provided list of item keys contains duplicates"), NUBO),
    ("a key of another type in the second write",
     {"RequestItems": {T: [{"PutRequest": {"Item": key("batch", "new")}},
     {"PutRequest": {"Item": {"pk": N("5"), "sk": S("1")}}}]}},
     invalid(MISMATCH), NUBO),
    ("a delete without a sort key", {"RequestItems": {T: [{"DeleteRequest": {"Key": {"pk": S("p")}}}]}},
     invalid(MISMATCH), DYNALITE),
    ("one write", {"RequestItems": {T: [{"PutRequest": {"Item": key("batch", "new")}}]}}, {"UnprocessedItems": {}},
     ALTERNATOR),
    table=None,
)  # fmt: skip


def _gets(*members: dict[str, Any]) -> dict[str, Any]:
    return {"TransactItems": [{"Get": {"TableName": T, "Key": key("1"), **each}} for each in members]}


TRANSACT_GET_ITEMS = _rows(
    "TransactGetItems",
    ("no TransactItems", {}, violated(at("transactItems", "not be null")), REFERENCE),
    ("empty TransactItems", {"TransactItems": []},
     invalid(re.compile(r"Value ('\[\]' )?at '[Tt]ransactItems' .*: Member must have length greater than or equal to "
      r"1$")), NUBO),
    ("101 gets", _gets(*[{"Key": each} for each in KEYS_101]),
     invalid(re.compile(r"Value ('\[.+\]' )?at '[Tt]ransactItems' .*: Member must have length less than or equal to "
      r"100$")), NUBO),
    ("a syntax error", _gets({"ProjectionExpression": "!!!"}),
     invalid('Invalid ProjectionExpression: Syntax error; token: "!", near: "!!"'), NUBO),
    ("a syntax error in the second before the missing table",
     _gets({"TableName": MISSING}, {"ProjectionExpression": "!!!", "Key": key("2")}),
     invalid('Invalid ProjectionExpression: Syntax error; token: "!", near: "!!"'), NUBO),
    ("an unused name", _gets({"ProjectionExpression": "x", "ExpressionAttributeNames": {"#u": "u"}}),
     invalid(UNUSED_NAMES), ALTERNATOR),
    ("an undefined name", _gets({"ProjectionExpression": "#u"}), invalid_with("#u"), ALTERNATOR),
    ("one key twice", _gets({}, {}), invalid("Transaction request cannot include multiple operations on one item"),
     REFERENCE),
    ("a missing table", _gets({"TableName": MISSING}), NOT_FOUND, NUBO, HINT),
    ("an empty key", _gets({"Key": {}}), cancelled("ValidationError"), NUBO),
    ("a key of another type after a good one", _gets({}, {"Key": {"pk": N("5"), "sk": S("1")}}),
     cancelled("None", "ValidationError"), NUBO),
    ("an empty key value", _gets({"Key": key("")}), invalid(f"{NOT_VALID}{EMPTY_KEY}sk"), NUBO),
    ("no item", _gets({"Key": key("none")}), {"Responses": [{"Item": ABSENT}]}, ALTERNATOR),
    table=None,
)  # fmt: skip


def _writes(*actions: tuple[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A transaction of actions, each of another item unless it says otherwise."""
    items = []
    for number, (kind, members) in enumerate(actions):
        target = {"Item" if kind == "Put" else "Key": key(f"t{number}", "transacted")}
        items.append({kind: {"TableName": T, **target, **members}})
    return {"TransactItems": items, **more}


EXISTS = {"ConditionExpression": "attribute_exists(pk)"}
EXISTS_NOT = {"ConditionExpression": "attribute_not_exists(pk)"}
BAD_KEY = {"pk": N("5"), "sk": S("1")}
SET = {"UpdateExpression": "SET a = :a", "ExpressionAttributeValues": {":a": S("x")}}

TRANSACT_WRITE_ITEMS = _rows(
    "TransactWriteItems",
    ("empty TransactItems", {"TransactItems": []},
     invalid(re.compile(r"Value ('\[\]' )?at '[Tt]ransactItems' .*: Member must have length greater than or equal to "
      r"1$")), NUBO),
    ("101 writes", _writes(*[("Put", {})] * 101),
     invalid(re.compile(r"Value ('\[.+\]' )?at '[Tt]ransactItems' .*: Member must have length less than or equal to "
      r"100$")), NUBO),
    ("a name of another type in a write before 101 writes",
     _writes(*[("Put", {})] * 100, ("Put", {**EXISTS, "ExpressionAttributeNames": {"#x": 7}})), WRONG_TYPE, ALTERNATOR),
    ("a token of 37 characters", _writes(("Put", {}), ClientRequestToken="t" * 37),
     invalid_with("lientRequestToken", "less than or equal to 36"), ALTERNATOR),
    ("an action without an operation", {"TransactItems": [{}]},
     invalid(re.compile("TransactWriteRequest should contain Delete or Put or Update( or ConditionCheck| request)$")),
     NUBO),
    *[(f"a bad table name in {kind}", _writes(("Put", {}), (kind, {"TableName": "bad!name", **more})),
       violated(at(f"transactItems.2.member.{kind[0].lower()}{kind[1:]}.tableName", PATTERN, "'bad!name'")), NUBO)
      for kind, more in (("Put", {}), ("Delete", {}), ("Update", SET), ("ConditionCheck", EXISTS))],
    ("a check without a condition", _writes(("ConditionCheck", {})), invalid_with("onditionExpression"), ALTERNATOR),
    ("a word that does not exist", _writes(("Update", {**SET, "ReturnValuesOnConditionCheckFailure": "none"})),
     invalid_with("eturnValuesOnConditionCheckFailure"), ALTERNATOR),
    *[(f"an empty condition in {kind}", _writes((kind, {"ConditionExpression": ""})),
     invalid("Invalid ConditionExpression: The expression can not be empty;"), NUBO)
      for kind in ("Put", "Delete", "ConditionCheck")],
    ("an unfinished condition", _writes(("ConditionCheck", {"ConditionExpression": "attribute_not_exists("})),
     invalid('Invalid ConditionExpression: Syntax error; token: "<EOF>", near: "("'), NUBO),
    ("an unused value in the second action", _writes(("Put", {}),
     ("ConditionCheck", {**EXISTS, "ExpressionAttributeValues": {":u": S("x")}})), invalid(UNUSED_VALUES), NUBO),
    ("an unused name", _writes(("Put", {**EXISTS, "ExpressionAttributeNames": {"#u": "x"}})), invalid(UNUSED_NAMES),
     ALTERNATOR),
    ("an unused value before a key of another type",
     _writes(("Delete", {"Key": BAD_KEY, **EXISTS, "ExpressionAttributeValues": {":u": S("x")}})),
     invalid(UNUSED_VALUES), NUBO),
    ("a large item", _writes(("Put", {"Item": {**key("1"), "a": LARGE}})), invalid(TOO_LARGE), NUBO),
    ("a value without a type before the missing table", _writes(("Put", {"TableName": MISSING, "Item": {"a": {}}})),
     invalid(NO_TYPE), NUBO),
    ("one item twice", _writes(("Put", {"Item": key("1")}), ("ConditionCheck", {"Key": key("1"), **EXISTS})),
     invalid("Transaction request cannot include multiple operations on one item"), NUBO),
    ("a missing table", _writes(("Put", {"TableName": MISSING})), NOT_FOUND, NUBO, HINT),
    ("two tables", _writes(("Put", {}), ("Put", {"TableName": "aws-answers-2"})),
     invalid_with("limited to one table"), ALTERNATOR,
     "AWS accepts several tables; here a table is a file, and a transaction is on one of them."),
    ("a put's key of another type", _writes(("Put", {"Item": BAD_KEY})), cancelled("ValidationError"), NUBO),
    *[(f"a key of another type in {kind}", _writes(("Put", {}), (kind, {"Key": BAD_KEY, **more})),
     cancelled("None", "ValidationError"), NUBO)
      for kind, more in (("Delete", {}), ("Update", SET), ("ConditionCheck", EXISTS))],
    ("two bad keys before a condition that does not hold",
     _writes(("Put", {"Item": BAD_KEY}), ("Put", {"Item": {**BAD_KEY, "pk": N("8")}}), ("Put", EXISTS)),
     cancelled("ValidationError", "None", "None"), ALTERNATOR),
    *[(f"an empty key in {kind}", _writes((kind, {"Item" if kind == "Put" else "Key": key("1", ""), **more})),
     invalid(f"{NOT_VALID}{EMPTY_KEY}pk"), NUBO)
      for kind, more in (("Put", {}), ("Delete", {}), ("Update", SET), ("ConditionCheck", EXISTS))],
    ("an index key of another type in a put", _writes(("Put", {"Item": {**key("1"), "g": N("5")}})),
     cancelled("ValidationError"), NUBO),
    ("an index key of another type in an update",
     _writes(("Update", {**SET, "UpdateExpression": "SET g = :a", "ExpressionAttributeValues": {":a": {"L": []}}})),
     cancelled("ValidationError"), NUBO),
    ("an empty index key in a put", _writes(("Put", {"Item": {**key("1"), "g": S("")}})),
     invalid_with("secondary index key"), NUBO),
    ("an empty index key in an update",
     _writes(("Update", {"UpdateExpression": "SET g = :a", "ExpressionAttributeValues": {":a": S("")}})),
     invalid_with("secondary index key"), NUBO),
    ("an update that becomes too large", _writes(("Update", {**SET, "ExpressionAttributeValues": {":a": LARGE}})),
     cancelled("ValidationError"), NUBO),
    ("one condition of two does not hold", _writes(("Put", EXISTS_NOT), ("Put", EXISTS)),
     cancelled("None", "ConditionalCheckFailed"), NUBO),
    ("both conditions do not hold", _writes(("Put", EXISTS), ("ConditionCheck", EXISTS)),
     cancelled("ConditionalCheckFailed", "ConditionalCheckFailed"), NUBO),
    ("writes over 4 MB",
     _writes(*[("Put", {"Item": {**key(str(each), "large"), "a": S("x" * 350_000)}}) for each in range(12)]),
     invalid_with("size cannot exceed"), ALTERNATOR),
    ("a put, a check and a delete", _writes(("Put", EXISTS_NOT), ("ConditionCheck", EXISTS_NOT), ("Delete", {})), {},
     ALTERNATOR),
    table=None,
)  # fmt: skip


def _schema(*names: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE", "RANGE"), strict=False)
    ]


def _types(*names: str) -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": "S"} for name in names]


def _index(name: str = "idx", *keys: str, **projection: Any) -> dict[str, Any]:
    return {
        "IndexName": name,
        "KeySchema": _schema(*(keys or ("g",))),
        "Projection": projection or {"ProjectionType": "ALL"},
    }


def _create(**members: Any) -> dict[str, Any]:
    valid = {
        "AttributeDefinitions": _types("pk", "sk"),
        "KeySchema": _schema("pk", "sk"),
        "BillingMode": "PAY_PER_REQUEST",
    }
    return {**valid, **members}


def _with_index(kind: str, *indexes: dict[str, Any], **members: Any) -> dict[str, Any]:
    return _create(
        **{f"{kind}SecondaryIndexes": list(indexes), "AttributeDefinitions": _types("pk", "sk", "g"), **members}
    )


UNITS = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}
OTHER_KEYS = "AWS takes every key schema; the endpoint's tables have the string keys pk and sk."

CREATE_TABLE = _rows(
    "CreateTable",
    ("no table name before no keys", {"TableName": None}, invalid(NO_TABLE_NAME), NUBO),
    ("a table name of 2 characters", _create(TableName="ab"),
     invalid("1 validation error detected: " + at("tableName", "have length greater than or equal to 3", "'ab'")),
     NUBO),
    ("a bad table name before an empty schema", _create(TableName="x!", KeySchema=[]), invalid_with("tableName"), NUBO),
    ("a table name of 256 characters", _create(TableName=NAME_256), invalid_with("ableName", "255"), NUBO),
    ("a table name with other characters", _create(TableName="invalid;name"),
     violated(at("tableName", PATTERN, "'invalid;name'")), DYNALITE),
    ("no keys", _create(KeySchema=[]), invalid_with("eySchema"), NUBO),
    ("no KeySchema", _create(KeySchema=None), invalid_with("eySchema"), DYNALITE),
    ("no AttributeDefinitions", _create(AttributeDefinitions=None), invalid_with("ttributeDefinitions"), ALTERNATOR),
    ("three keys", _create(KeySchema=_schema("pk", "sk", "e"), AttributeDefinitions=_types("pk", "sk", "e")),
     invalid_with("eySchema", "less than or equal to 2"), NUBO),
    ("a kind of key that does not exist", _create(KeySchema=[{"AttributeName": "pk", "KeyType": "hi"}]),
     violated(not_one_of("keySchema.1.member.keyType", "HASH, RANGE")), NUBO),
    ("a type that does not exist", _create(AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "hi"}]),
     violated(not_one_of("attributeDefinitions.1.member.attributeType", "B, N, S")), NUBO),
    ("a definition without members", _create(AttributeDefinitions=[{}]),
     violated(at("attributeDefinitions.1.member.attributeName", "not be null"),
     at("attributeDefinitions.1.member.attributeType", "not be null")), DYNALITE),
    ("a billing mode that does not exist", _create(BillingMode="pay_per_request"),
     violated(at("billingMode", "satisfy enum value set: [PROVISIONED, PAY_PER_REQUEST]", "'pay_per_request'")),
     DYNALITE),
    ("units of -1", _create(ProvisionedThroughput={"ReadCapacityUnits": -1, "WriteCapacityUnits": 1}),
     violated(at("provisionedThroughput.readCapacityUnits", "have value greater than or equal to 1", "'-1'")),
     DYNALITE),
    ("no units before wrong keys", _create(BillingMode=None, KeySchema=_schema("a", "a")),
     invalid(f"{INVALID}ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is "
      f"PROVISIONED"), DYNALITE),
    ("units on demand", _create(ProvisionedThroughput=UNITS),
     invalid(f"{INVALID}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is "
      f"PAY_PER_REQUEST"), NUBO),
    ("one attribute as both keys, defined once",
     _create(KeySchema=_schema("pk", "pk"), AttributeDefinitions=_types("pk")),
     invalid("Invalid KeySchema: Some index key attribute have no definition"), NUBO),
    ("keys without definitions", _create(AttributeDefinitions=[]),
     invalid("Invalid KeySchema: Some index key attribute have no definition"), DYNALITE),
    ("keys defined under other names", _create(AttributeDefinitions=_types("a", "b")),
     invalid_with(f"{INVALID}Some index key attributes are not defined in AttributeDefinitions. Keys: [pk, sk], "
      f"AttributeDefinitions: [a, b]"), DYNALITE),
    ("one attribute as both keys", _create(KeySchema=_schema("pk", "pk")),
     invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name"), DYNALITE),
    ("a sort key first",
     _create(KeySchema=[{"AttributeName": "pk", "KeyType": "RANGE"}, {"AttributeName": "sk", "KeyType": "HASH"}]),
     invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type"), DYNALITE),
    ("two partition keys",
     _create(KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "HASH"}]),
     invalid("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type"), DYNALITE),
    ("a definition that no key uses", _create(AttributeDefinitions=_types("pk", "sk", "e")),
     invalid(f"{INVALID}Number of attributes in KeySchema does not exactly match number of attributes defined in "
      f"AttributeDefinitions"), DYNALITE),
    ("one attribute defined twice",
     _create(AttributeDefinitions=[*_types("pk", "sk"), {"AttributeName": "sk", "AttributeType": "N"}]),
     invalid_with("uplicate", "sk"), ALTERNATOR),
    ("other keys", _create(KeySchema=_schema("id"), AttributeDefinitions=_types("id")), invalid_with("string keys pk"),
     REFERENCE, OTHER_KEYS),
    ("a number as sort key",
     _create(AttributeDefinitions=[*_types("pk"), {"AttributeName": "sk", "AttributeType": "N"}]),
     invalid_with("string keys pk"), REFERENCE, OTHER_KEYS),
    ("an empty list of local indexes", _with_index("Local"),
     invalid(f"{INVALID}List of LocalSecondaryIndexes is empty"), DYNALITE),
    ("an empty list of global indexes", _with_index("Global"),
     invalid(f"{INVALID}List of GlobalSecondaryIndexes is empty"), DYNALITE),
    ("a local index of a table without a sort key",
     _with_index("Local", _index("idx", "pk", "g"), KeySchema=_schema("pk"), AttributeDefinitions=_types("pk", "g")),
     invalid(f"{INVALID}Table KeySchema does not have a range key, which is required when specifying a "
      f"LocalSecondaryIndex"), NUBO),
    ("a local index without a sort key", _with_index("Local", _index("idx", "pk")),
     invalid(f"{INVALID}Index KeySchema does not have a range key for index: idx"), DYNALITE),
    ("a local index in another partition", _with_index("Local", _index("idx", "g", "sk")),
     invalid(f"{INVALID}Index KeySchema does not have the same leading hash key as table KeySchema for index: idx. "
      f"index hash key: g, table hash key: pk"), DYNALITE),
    ("an index key without a definition", _with_index("Global", _index("idx", "z")),
     invalid_with(f"{INVALID}Some index key attributes are not defined in AttributeDefinitions. Keys: [z], "
      f"AttributeDefinitions: ["), DYNALITE),
    ("one attribute as both keys of an index", _with_index("Global", _index("idx", "g", "g")),
     invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name"), DYNALITE),
    ("an undefined key before the order of keys",
     _with_index("Local", {**_index(), "KeySchema": [{"AttributeName": "z", "KeyType": "RANGE"}]}),
     invalid_with(f"{INVALID}Some index key attributes are not defined"), DYNALITE),
    ("an index with a sort key first", _with_index("Global",
     {**_index(), "KeySchema": [{"AttributeName": "g", "KeyType": "RANGE"}]}),
     invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type"), DYNALITE),
    ("an index without a projection type", _with_index("Global", _index("idx", "g", ProjectionType=None)),
     invalid(f"{INVALID}Unknown ProjectionType: null"), DYNALITE),
    ("attributes beside KEYS_ONLY", _with_index("Global",
     _index("idx", "g", ProjectionType="KEYS_ONLY", NonKeyAttributes=["x"])),
     invalid(f"{INVALID}ProjectionType is KEYS_ONLY, but NonKeyAttributes is specified"), DYNALITE),
    ("INCLUDE without attributes", _with_index("Global", _index("idx", "g", ProjectionType="INCLUDE")),
     invalid(f"{INVALID}ProjectionType is INCLUDE, but NonKeyAttributes is not specified"), NUBO),
    ("two indexes with one name", _with_index("Global", _index(), _index("idx", "sk")),
     invalid(f"{INVALID}Duplicate index name: idx"), NUBO),
    ("6 local indexes", _with_index("Local", *[_index(f"idx{each}", "pk", "g") for each in range(6)]),
     invalid(f"{INVALID}Number of LocalSecondaryIndexes exceeds per-table limit of 5"), DYNALITE),
    ("21 global indexes", _with_index("Global", *[_index(f"idx{each}") for each in range(21)]),
     invalid(f"{INVALID}GlobalSecondaryIndex count exceeds the per-table limit of 20"), DYNALITE),
    ("units of an index on demand", _with_index("Global", {**_index(), "ProvisionedThroughput": UNITS}),
     invalid(f"{INVALID}ProvisionedThroughput should not be specified for index: idx when BillingMode is "
      f"PAY_PER_REQUEST"), DYNALITE),
    ("an index's short name", _with_index("Global", _index("i;")),
     invalid_with("globalSecondaryIndexes.1.member.indexName", "greater than or equal to 3"), DYNALITE),
    ("a stream that is off, with a view",
     _create(StreamSpecification={"StreamEnabled": False, "StreamViewType": "NEW_IMAGE"}),
     invalid(f"{INVALID}Table is being created with a stream disabled, UpdateViewType should not be specified"), NUBO),
    ("a stream", _create(StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}),
     invalid_with("does not support streams"), REFERENCE, "AWS has streams."),
    ("100 tags", _create(Tags=[{"Key": str(each), "Value": "v"} for each in range(100)]), invalid_with("50"),
     ALTERNATOR),
    ("wrong keys before an existing table", _create(TableName=T, KeySchema=_schema("pk", "pk")),
     invalid_with("the same name"), DYNALITE),
    ("an existing table", _create(TableName=T), Refusal("ResourceInUseException", ("Table already exists: ",)),
     ALTERNATOR),
    ("a table", _create(TableName="aws-answers-3"),
     {"TableDescription": {"TableName": "aws-answers-3", "KeySchema": _schema("pk", "sk"), "ItemCount": 0}}, REFERENCE),
    table="aws-answers-none",
)  # fmt: skip

NOTHING = (
    "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or "
    "SSESpecification or ReplicaUpdates is required"
)


def _change(kind: str, index: dict[str, Any], *names: str) -> dict[str, Any]:
    return {"GlobalSecondaryIndexUpdates": [{kind: index}], "AttributeDefinitions": _types(*names) or None}


UPDATE_TABLE = _rows(
    "UpdateTable",
    ("no table name", {"TableName": None}, invalid(NO_TABLE_NAME), DYNALITE),
    ("nothing, before the missing table", {"TableName": MISSING}, invalid(NOTHING), DYNALITE),
    ("an empty list of updates", {"GlobalSecondaryIndexUpdates": []}, invalid(NOTHING), DYNALITE),
    ("no units, provisioned", {"BillingMode": "PROVISIONED"},
     invalid(f"{INVALID}ProvisionedThroughput must be specified when BillingMode is PROVISIONED"), DYNALITE),
    ("units of 0", {"ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 5}},
     invalid_with("provisionedThroughput.readCapacityUnits"), NUBO),
    ("units on demand", {"BillingMode": "PAY_PER_REQUEST", "ProvisionedThroughput": UNITS},
     invalid(f"{INVALID}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is "
      f"PAY_PER_REQUEST"), NUBO),
    ("an update without a change", {"GlobalSecondaryIndexUpdates": [{}]},
     invalid(f"{INVALID}One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, "
      f"GlobalSecondaryIndexUpdate.Delete must not be null"), DYNALITE),
    ("one index twice",
     {"GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "by-g"}}, {"Delete": {"IndexName": "by-g"}}]},
     invalid(f"{INVALID}Only one global secondary index update per index is allowed simultaneously. Index: by-g"),
     DYNALITE),
    ("a missing table", {"TableName": MISSING, "ProvisionedThroughput": UNITS},
     Refusal("ResourceNotFoundException", (f"Requested resource not found: Table: {MISSING} not found",)), NUBO, HINT),
    ("an index that exists", _change("Create", _index("by-g", "g"), "g"), invalid_with("already exists"), ALTERNATOR),
    ("a global index with a local one's name", _change("Create", _index("by-n", "g"), "g"),
     invalid_with("already exists"), ALTERNATOR),
    ("a known key without a definition", _change("Create", _index("new", "g")), invalid_with("AttributeDefinitions"),
     ALTERNATOR),
    ("no such index", _change("Delete", {"IndexName": "none"}),
     Refusal("ResourceNotFoundException", ("Requested resource not found",)), NUBO),
    ("the billing mode that it has", {"BillingMode": "PAY_PER_REQUEST"},
     {"TableDescription": {"TableStatus": "ACTIVE"}}, NUBO),
)  # fmt: skip

OTHER_OPERATIONS = [
    row
    for operation in ("DescribeTable", "DeleteTable", "DescribeTimeToLive")
    for row in _rows(
        operation,
        ("no table name", {"TableName": None}, invalid(NO_TABLE_NAME), DYNALITE),
        ("a name of another type", {"TableName": 5}, WRONG_TYPE, DYNALITE),
        (
            "a name with other characters",
            {"TableName": "abc;"},
            invalid("1 validation error detected: " + at("tableName", PATTERN, "'abc;'")),
            DYNALITE,
        ),
        (
            "a missing table",
            {"TableName": MISSING},
            Refusal("ResourceNotFoundException", (f"Requested resource not found: Table: {MISSING} not found",)),
            DYNALITE,
            HINT,
        ),
    )
]
OTHER_OPERATIONS += _rows(
    "ListTables",
    ("a short start and a high limit", {"ExclusiveStartTableName": "a;", "Limit": 500},
     violated(at("exclusiveStartTableName", PATTERN, "'a;'"),
     at("exclusiveStartTableName", "have length greater than or equal to 3", "'a;'"),
              at("limit", "have value less than or equal to 100", "'500'")), DYNALITE),
    ("a limit of 0", {"Limit": 0}, violated(at("limit", "have value greater than or equal to 1", "'0'")), DYNALITE),
    ("a limit of another type before a short start", {"Limit": "1", "ExclusiveStartTableName": "a;"}, WRONG_TYPE,
     DYNALITE),
    ("a start of 256 characters", {"ExclusiveStartTableName": NAME_256},
     violated(at("exclusiveStartTableName", "have length less than or equal to 255", f"'{NAME_256}'")), DYNALITE),
    ("after a name", {"ExclusiveStartTableName": "aws-answer", "Limit": 1}, {"TableNames": [T]}, REFERENCE),
    table=None,
)  # fmt: skip


def _expires(attribute: Any, *, enabled: Any = True) -> dict[str, Any]:
    return {"TimeToLiveSpecification": {"AttributeName": attribute, "Enabled": enabled}}


OTHER_OPERATIONS += _rows(
    "UpdateTimeToLive",
    ("an attribute name of another type", _expires(3), WRONG_TYPE, ALTERNATOR),
    ("a switch of another type before an empty name", _expires("", enabled="dog"), WRONG_TYPE, ALTERNATOR),
    ("no attribute name", _expires(None), invalid_with("ttributeName"), ALTERNATOR),
    ("no switch", _expires("ttl", enabled=None), invalid_with("nabled"), ALTERNATOR),
    ("an empty attribute name", _expires(""), invalid_with("length"), ALTERNATOR),
    ("an attribute name of 256 characters", _expires("x" * 256), invalid_with("length"), ALTERNATOR),
    ("an empty attribute name before the missing table", {**_expires(""), "TableName": MISSING}, invalid_with("length"),
     ALTERNATOR),
    ("a missing table", {**_expires("ttl"), "TableName": MISSING}, NOT_FOUND, NUBO, HINT),
    ("off, where it is off", _expires("ttl", enabled=False), invalid_with("disabled"), ALTERNATOR),
    ("another attribute", _expires("expires"), invalid_with("the attribute ttl"), NUBO,
     "AWS takes every attribute; items here expire by ttl."),
    ("on", {**_expires("ttl"), "TableName": "aws-answers-2"},
     {"TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": True}}, ALTERNATOR),
)  # fmt: skip

ARN = "arn:aws:dynamodb:local:000000000000:table/"
OTHER_OPERATIONS += _rows(
    "TagResource",
    ("no resource", {}, invalid_with("rn"), DYNALITE),
    ("a resource that is no ARN", {"ResourceArn": "not-a-valid-arn", "Tags": [{"Key": "a", "Value": "b"}]},
     Refusal("ValidationException"), NUBO),
    ("no tags before a resource that is no table", {"ResourceArn": "a:b:c:d:e:f/g"},
     violated(at("tags", "not be null")), DYNALITE),
    ("a resource that is no table before empty tags", {"ResourceArn": "a:b:c:d:e:f/g", "Tags": []},
     invalid("Invalid TableArn: Invalid ResourceArn provided as input a:b:c:d:e:f/g"), DYNALITE),
    ("empty tags before the missing table", {"ResourceArn": ARN + MISSING, "Tags": []},
     invalid("Atleast one Tag needs to be provided as Input."), DYNALITE),
    ("a missing table", {"ResourceArn": ARN + MISSING, "Tags": [{"Key": "a", "Value": "b"}]}, NOT_FOUND, ALTERNATOR,
     HINT),
    ("an empty tag key", {"ResourceArn": ARN + T, "Tags": [{"Key": "", "Value": "b"}]},
     invalid_with("greater than or equal to 1"), REFERENCE),
    ("60 tags", {"ResourceArn": ARN + T, "Tags": [{"Key": str(each), "Value": "v"} for each in range(60)]},
     invalid_with("50"), ALTERNATOR),
    ("a tag", {"ResourceArn": ARN + "aws-answers-2", "Tags": [{"Key": "a", "Value": "b"}]}, None,
     ALTERNATOR),
    table=None,
)  # fmt: skip
OTHER_OPERATIONS += _rows(
    "UntagResource",
    ("no keys before a resource that is no table", {"ResourceArn": "a:b:c:d:e:f/g"},
     violated(at("tagKeys", "not be null")), DYNALITE),
    ("no keys", {"ResourceArn": ARN + MISSING, "TagKeys": []},
     invalid("Atleast one Tag Key needs to be provided as Input."), DYNALITE),
    ("a missing table", {"ResourceArn": ARN + MISSING, "TagKeys": ["a"]}, NOT_FOUND, DYNALITE, HINT),
    ("a key that is not there", {"ResourceArn": ARN + T, "TagKeys": ["none"]}, None, ALTERNATOR),
    table=None,
)  # fmt: skip
OTHER_OPERATIONS += _rows(
    "ListTagsOfResource",
    ("a resource that is no table", {"ResourceArn": "a:b:c:d:e:f/g"},
     invalid("Invalid TableArn: Invalid ResourceArn provided as input a:b:c:d:e:f/g"), DYNALITE),
    ("a missing table", {"ResourceArn": ARN + MISSING}, NOT_FOUND, DYNALITE,
     "AWS: ResourceNotFoundException or, by region, AccessDeniedException."),
    ("no tags", {"ResourceArn": ARN + T}, {"Tags": []}, DYNALITE),
    table=None,
)  # fmt: skip

UNKNOWN = Refusal("UnknownOperationException")
UNREAD = "AWS: SerializationException. The endpoint does not read the body of an unknown operation."
NOT_SERVED = "AWS has this operation; the endpoint does not."
OTHER_OPERATIONS += [
    Row("ListTable", "an operation that does not exist", {}, UNKNOWN, DYNALITE),
    Row("ListTable", "an unknown operation with a body that is not JSON", b"hi", UNKNOWN, DYNALITE, UNREAD),
    Row("PutItem", "a body that is not JSON", b"habababa", WRONG_TYPE, ALTERNATOR),
    Row("PutItem", "half a body", b'{"TableName": "aws-answers", "Item"', WRONG_TYPE, ALTERNATOR),
    Row("PutItem", "a number as a body", b"7", WRONG_TYPE, ALTERNATOR),
    Row("PutItem", "10,000 braces", b"{" * 10_000 + b"}" * 9_999, WRONG_TYPE, ALTERNATOR),
    Row("ExecuteStatement", "PartiQL", {"Statement": "SELECT * FROM x"}, UNKNOWN, REFERENCE, NOT_SERVED),
    Row("BatchExecuteStatement", "PartiQL", {"Statements": []}, UNKNOWN, REFERENCE, NOT_SERVED),
    Row("CreateBackup", "backups", {"TableName": T, "BackupName": "b"}, UNKNOWN, REFERENCE, NOT_SERVED),
]

ROWS = [
    *GET_ITEM,
    *PUT_ITEM,
    *DELETE_ITEM,
    *UPDATE_ITEM,
    *QUERY,
    *SCAN,
    *BATCH_GET_ITEM,
    *BATCH_WRITE_ITEM,
    *TRANSACT_GET_ITEMS,
    *TRANSACT_WRITE_ITEMS,
    *CREATE_TABLE,
    *UPDATE_TABLE,
    *OTHER_OPERATIONS,
]
