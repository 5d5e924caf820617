"""DynamoDB's expression texts. Every name is a placeholder, so that no word is reserved."""

from collections.abc import Iterable, Mapping, Sequence

from ddb_mcp.core import limits
from ddb_mcp.core.conditions import Comparison, Filter, Or
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import AttributeValue, Item
from ddb_mcp.core.paths import Path

COMPARATOR_SIGNS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_FUNCTIONS = {"type": "attribute_type"}


class ExpressionBuilder:
    """The placeholders of one request's expressions: every name is a `#n`, every value a `:n`; no word is reserved."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, AttributeValue] = {}
        self._by_name: dict[str, str] = {}

    def path(self, *steps: str | int) -> str:
        """Return a document path in placeholders."""
        text = ""
        for step in steps:
            if isinstance(step, int):
                text += f"[{step}]"
                continue
            placeholder = self._by_name.setdefault(step, f"#{len(self._by_name)}")
            self.names[placeholder] = step
            text += f".{placeholder}" if text else placeholder
        return text

    def value(self, value: AttributeValue) -> str:
        """Return a placeholder for a value."""
        placeholder = f":{len(self.values)}"
        self.values[placeholder] = value
        return placeholder

    def condition(self, clauses: Filter) -> str:
        """Return the clauses as a condition or filter expression, `""` if there are none."""
        return " AND ".join(map(self._format_clause, clauses))

    def update(self, item: Item, remove: Iterable[Path] = (), add: Mapping[str, AttributeValue] | None = None) -> str:
        """Return the update expression of a merge, `""` if it changes nothing.

        Args:
            item: its attributes are set, but for the key.
            remove: document paths that are removed.
            add: numbers that are added to attributes, and sets that are united with them.
        """
        actions = {
            "SET": [f"{self.path(name)}={self.value(item[name])}" for name in item if name not in ("pk", "sk")],
            "REMOVE": [self.path(*path) for path in remove],
            "ADD": [f"{self.path(name)} {self.value(value)}" for name, value in (add or {}).items()],
        }
        return " ".join(f"{action} {','.join(texts)}" for action, texts in actions.items() if texts)

    def _format_clause(self, clause: Comparison | Or) -> str:
        if isinstance(clause, Or):
            alternatives = map(self.condition, clause.filters)
            return "(" + " OR ".join(f"({text})" for text in alternatives) + ")"
        path = self.path(*clause.path)
        if clause.operator == "exists":
            return f"attribute{'' if clause.exists else '_not'}_exists({path})"
        values = list(map(self.value, clause.values))
        if clause.operator == "between":
            return f"{path} BETWEEN {values[0]} AND {values[1]}"
        if clause.operator == "in":
            return f"{path} IN ({','.join(values)})"
        if comparator := COMPARATOR_SIGNS.get(clause.operator):
            return f"{path} {comparator} {values[0]}"
        return f"{_FUNCTIONS.get(clause.operator, clause.operator)}({path},{values[0]})"


def check_update(item: Item, remove: Sequence[Path] = (), add: Mapping[str, AttributeValue] | None = None) -> None:
    """Raise InvalidArgument if a merge would not fit into one update expression."""
    if len(ExpressionBuilder().update(item, remove, add)) > limits.EXPRESSION_MAX_BYTES:
        number = len(item.keys() - {"pk", "sk"}) + len(remove) + len(add or ())
        raise InvalidArgument(
            f"merge sets, adds and removes {number} attributes, too many for one update expression.",
            next="Merge them in several calls, or put the whole item.",
        )
