"""Which items the words of `where`, and of query and scan, select."""

import logging

from ddb_mcp.core.conditions import Comparison, Filter, KeyRange, parse_range
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.filters import parse_filter
from ddb_mcp.core.items import Item
from ddb_mcp.core.keys import Prefix
from ddb_mcp.service.arguments import Where
from ddb_mcp.stores.base import Read

logger = logging.getLogger(__name__)


def parse_selection(where: Where, own: Prefix, named: str = "") -> Read:
    """The query, where there is a partition key, or else the scan.

    Args:
        own: the deployment's prefix.
        named: what comes before the names of the words in errors, for example `where.`.

    Raises:
        InvalidArgument, PrefixViolation: as `query` and `scan` raise them.
    """
    if where.pk is not None and where.pk_prefix is not None:
        raise InvalidArgument(f"{named}pk and {named}pk_prefix are both given; give one of them.")
    if where.pk is not None:
        read = Read(pk=own.check_pk(where.pk, f"{named}pk"))
    else:
        pk_prefix = own.check_pk_prefix(where.pk_prefix)
        read = Read(pk_prefix=pk_prefix, pk_is_longer=pk_prefix == own.joined)
    keys = parse_range(where.sk_prefix, where.sk_from, where.sk_to)
    clauses = parse_filter(where.filter, f"{named}filter", keys_allowed=where.pk is None) if where.filter else ()
    if where.pk is not None:
        return read._replace(range=keys, filter=clauses)
    return read._replace(filter=(*_to_clauses(keys), *clauses))


def is_requested(item: Item, read: Read, own: Prefix) -> bool:
    """Whether an item that a read returned is the deployment's own and one of those requested. If not, it is logged."""
    if own.owns(item["pk"]["S"]) and read.names(item):
        return True
    logger.error("The store returned an item of another deployment, or one outside the read; it was left out.")
    return False


def _to_clauses(keys: KeyRange) -> Filter:
    """A range of sort keys as clauses of a filter: a scan takes no range."""
    bounds = (("begins_with", keys.prefix), ("ge", keys.low), ("le", keys.high))
    return tuple(Comparison(("sk",), operator, ({"S": text},)) for operator, text in bounds if text is not None)
