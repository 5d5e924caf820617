"""Which items the words of `where`, and of query and scan, select."""

import logging

from ddb_mcp.core.conditions import Comparison, Filter, KeyRange, iter_comparisons
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.filters import parse_filter
from ddb_mcp.core.indexes import IndexKey, parse_key_range, parse_key_text
from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Prefix
from ddb_mcp.core.text import quote_start
from ddb_mcp.service.arguments import QueryArguments, Where
from ddb_mcp.service.call_context import CallContext
from ddb_mcp.stores.base import Read

logger = logging.getLogger(__name__)


def parse_selection(where: Where, own: Prefix, named: str = "") -> Read:
    """Return the query if there is a partition key, else the scan.

    Args:
        own: the deployment's prefix.
        named: what comes before the names of the words in errors, for example `where.`.

    Raises:
        InvalidArgument, PrefixViolation: as `query` and `scan` raise them.
    """
    if where.pk is not None and where.pk_prefix is not None:
        raise InvalidArgument(f"{named}pk and {named}pk_prefix cannot be combined.")
    if where.pk is not None:
        read = Read(pk=own.check_pk(where.pk, f"{named}pk"))
    else:
        pk_prefix = own.check_pk_prefix(where.pk_prefix)
        read = Read(pk_prefix=pk_prefix, pk_is_longer=pk_prefix == own.joined)
    keys = parse_key_range(IndexKey("sk"), where.sk_prefix, where.sk_from, where.sk_to)
    clauses = parse_filter(where.filter, f"{named}filter", keys_allowed=where.pk is None) if where.filter else ()
    if where.pk is not None:
        return read._replace(range=keys, filter=clauses)
    return read._replace(filter=(*_to_clauses(keys), *clauses))


async def parse_index_selection(call: CallContext, arguments: QueryArguments) -> Read:
    """Return the query of a secondary index.

    An index whose partitions each belong to one deployment is asked for its own partitions only. On any other index,
    items of other deployments are read and left out, as in a scan.

    Raises:
        InvalidArgument, PrefixViolation: there is no such index, or it has other keys.
        DdbMcpError: what `Store.get_indexes` raises.
    """
    rules = await call.get_index_rules(required=True)
    index = next((index for index in rules.indexes if index.name == arguments.index), None)
    if index is None:
        names = ", ".join(index.name for index in rules.indexes)
        advice = f"Its indexes: {names}." if names else "It has none: query by pk, or scan with a filter."
        raise InvalidArgument(f"The table has no index {quote_start(str(arguments.index))}.", next=advice)
    if index.more_keys:
        raise InvalidArgument(
            f"The index {index.name} has a key of several attributes, which query does not support.",
            next="Query another index, or scan with a filter.",
        )
    pk = parse_key_text(index.pk, arguments.pk, "pk", is_partition=True)
    if rules.is_isolated(index):
        call.prefix.check_pk(pk)
    keys = parse_key_range(index.sk, arguments.sk_prefix, arguments.sk_from, arguments.sk_to)
    clauses = parse_filter(arguments.filter, "filter", keys_allowed=True) if arguments.filter else ()
    if named := {str(clause.path[0]) for clause in iter_comparisons(clauses)}.intersection(index.key_names):
        name = min(named)
        parameter = "pk" if name == index.pk.name else "sk_from and sk_to"
        raise InvalidArgument(f"filter cannot use {name}, a key of the index {index.name}.", next=f"Use {parameter}.")
    return Read(pk=pk, pk_prefix=call.prefix.joined, secondary_index=index, range=keys, filter=clauses)


def is_requested(item: Item, read: Read, own: Prefix) -> bool:
    """Return whether an item is the deployment's own and matches the read. Logs an item that does not."""
    if own.owns(item["pk"]["S"]) and read.names(item):
        return True
    logger.error("The store returned an item of another deployment, or one outside the read; it was left out.")
    return False


def _to_clauses(keys: KeyRange) -> Filter:
    """Return a range of sort keys as clauses of a filter: a scan takes no range."""
    bounds = (("begins_with", keys.prefix), ("ge", keys.low), ("le", keys.high))
    return tuple(Comparison(("sk",), operator, ({"S": text},)) for operator, text in bounds if text is not None)
