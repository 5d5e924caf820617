"""The arguments of each tool: one strict model a tool, for MCP and for the gateway.

Unknown arguments are refused by name. `parameters` undoes what hosts do to the others.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema

from ddb_mcp.core import limits
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.text import quote_start
from ddb_mcp.service.parameters import BATCH_MAX, parse_arguments_object, prepare

LIMIT_DEFAULT = 50


View = Literal["items", "keys", "count", "summary"]


class _Published:
    """The JSON Schema of a parameter whose Python type is wider than what callers should send."""

    def __init__(self, **schema: Any) -> None:
        self.schema = schema

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return dict(self.schema)


# A JSON string is accepted too, since models send it; `items.parse_item` tells them apart.
_ItemArgument = Annotated[Any, _Published(type="object")]
_Names = list[Annotated[str, Field(min_length=1)]]


class Arguments(BaseModel):
    """The arguments of one tool. `Arguments.parse` is the way in."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True, hide_input_in_errors=True)

    never_empty: ClassVar[frozenset[str]] = frozenset()
    """Parameters that refuse an empty object, list or text: a call without them does more."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Return the checked arguments. Raises InvalidArgument, which names the parameter and what is wrong with it."""
        arguments = parse_arguments_object(value)
        if not cls.model_fields:  # hosts that send something with every call send it to these too
            return cls()
        try:
            return cls.model_validate(prepare(cls, arguments, cls.never_empty))
        except ValidationError as invalid:
            raise _to_invalid_argument(invalid) from None


class ProvisionArguments(Arguments):
    pass


class InfoArguments(Arguments):
    pass


class GetArguments(Arguments):
    pk: str = Field(description="Full partition key, prefix included.")
    sk: str
    attributes: _Names | None = Field(
        None, description='Only these paths: "a.b[0]", "`dotted.name`"; of a long value a part: "body[0:20000]".'
    )


class Where(BaseModel):
    """The items that a write is for, in the words of query and scan."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
    pk: str | None = None
    pk_prefix: str | None = None
    sk_prefix: str | None = None
    sk_from: str | None = None
    sk_to: str | None = None
    filter: dict[str, Any] | None = None


_Where = Annotated[Where, _Published(type="object")]


class PutArguments(Arguments):
    never_empty = frozenset({"expect", "create_only", "where", "dry_run"})

    item: _ItemArgument | None = Field(
        None,
        description="With string pk and sk; with where, only attributes to set. Values beyond plain JSON are typed: "
        '{"SS":["a"]}, {"NS":["1"]}, {"B":"<base64>"}, {"N":"12345678901234567890"}.',
    )
    items: list[_ItemArgument] | None = Field(
        None, max_length=BATCH_MAX, description="Instead of item: independent writes, not a transaction."
    )
    merge: bool | None = Field(None, description="Set these attributes, keep the others.")
    remove: _Names | None = Field(None, description='Delete by path, keep the rest: ["a.b","list[0]"].')
    add: dict[str, Any] | None = Field(
        None, description='Add to numbers and sets, atomic, no read: {"n":1,"tags":{"SS":["x"]}}; see `updated`.'
    )
    create_only: bool | None = Field(None, description="Fail if the key exists.")
    expect: dict[str, Any] | None = Field(
        None, description="Filter each stored item must satisfy, see query; may name pk and sk."
    )
    where: _Where | None = Field(
        None,
        description='Change, copy or move all items that match: {"pk" or "pk_prefix", "sk_prefix", "sk_from", "sk_to", '
        '"filter"}, up to 1000 a call. While complete is false, call again with cursor.',
    )
    copy_to: str | None = Field(None, description="With where.pk: another pk; stores each there, if its sk is free.")
    move_to: str | None = Field(None, description="As copy_to, and deletes each copied: renames a partition.")
    dry_run: bool | None = Field(None, description="With where: only count, and show a sample.")
    cursor: str | None = Field(None, description="With where: from the last call; repeat its arguments.")


class KeyArgument(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
    pk: str
    sk: str


class DeleteArguments(Arguments):
    never_empty = frozenset({"expect", "where", "dry_run"})

    pk: str | None = None
    sk: str | None = None
    keys: list[KeyArgument] | None = Field(None, max_length=BATCH_MAX, description="Instead of pk and sk.")
    expect: dict[str, Any] | None = Field(None, description="Filter each stored item must satisfy, see query.")
    where: _Where | None = Field(
        None,
        description='Delete all items that match, up to 1000 a call, as in put: {"pk":…,"filter":{"status":"old"}}.',
    )
    dry_run: bool | None = Field(None, description="With where: only count, and show a sample.")
    cursor: str | None = Field(None, description="With where: from the last call; repeat its arguments.")


class _Listing(Arguments):
    filter: dict[str, Any] | None = Field(
        None,
        description='By path, all must hold: {"status":"open","total":{"gt":10},"a.b[0]":{"type":"S"},'
        '"$or":[filter,filter]}. Operators: eq ne lt le gt ge between in begins_with contains exists type.',
    )
    attributes: _Names | None = Field(None, description="Only these paths, and the key.")
    view: View | None = Field(None, description="summary: kinds of items, their attributes and types.")
    limit: int | None = Field(None, ge=1, le=limits.LIMIT_MAX, description=f"Default {LIMIT_DEFAULT}.")
    cursor: str | None = Field(None, description="From the last page; repeat the rest.")


class QueryArguments(_Listing):
    pk: str = Field(description="Full partition key, prefix included.")
    index: str | None = Field(
        None,
        description="A secondary index, see info. pk and sk_* are then values of its keys, numbers as text. "
        "May lag behind writes.",
    )
    sk_prefix: str | None = None
    sk_from: str | None = Field(None, description="Inclusive, as is sk_to.")
    sk_to: str | None = None
    descending: bool | None = None


class ScanArguments(_Listing):
    filter: dict[str, Any] | None = Field(None, description="As in query; pk and sk too.")
    pk_prefix: str | None = Field(None, description="Full beginning of the pks, prefix included.")


# Requirements for a parameter, by pydantic's name of the error.
_EXPECTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "greater_than_equal": f"from 1 to {limits.LIMIT_MAX}",
    "less_than_equal": f"from 1 to {limits.LIMIT_MAX}",
    "string_unicode": "Unicode text, and holds a lone surrogate",
    "string_too_short": "a name, and is empty",
}


def _to_invalid_argument(invalid: ValidationError) -> InvalidArgument:
    """Return the first problem that pydantic found, an unknown name before all others, in our own words."""
    errors = invalid.errors(include_url=False, include_input=False)
    error = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    match error["type"]:
        case "missing":
            return InvalidArgument(f"{where} is missing.")
        case "extra_forbidden":
            return InvalidArgument(f"{quote_start(where)} is not a member of a key.", next="A key has pk and sk.")
        case "literal_error":
            expected = f"one of {error['ctx']['expected'].replace(chr(39), '')}"
        case kind:
            expected = _EXPECTED.get(kind, "as the tool's input schema says")
    return InvalidArgument(f"{where or 'the arguments'} must be {expected}.")


class InputSchema(GenerateJsonSchema):
    """JSON Schema that every host takes: no titles, no `anyOf` with null, no null defaults, nested models in place."""

    def generate(
        self, schema: CoreSchema, mode: Literal["validation", "serialization"] = "validation"
    ) -> JsonSchemaValue:
        schemas = super().generate(schema, mode)
        definitions = schemas.pop("$defs", {})
        return {name: _simplify_schema(value, definitions) for name, value in schemas.items() if name != "title"}

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


# Members that models need not read. The properties follow as the last member; an empty name is refused in words.
_UNPUBLISHED = frozenset({"title", "properties", "minLength"})


def _simplify_schema(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_simplify_schema(entry, definitions) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _simplify_schema(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    properties = schema.get("properties", {})
    plain = {
        name: _simplify_schema(value, definitions)
        for name, value in schema.items()
        if name not in _UNPUBLISHED and (name, value) != ("additionalProperties", True)
    }
    if properties:
        plain["properties"] = {name: _simplify_schema(value, definitions) for name, value in properties.items()}
    return plain
