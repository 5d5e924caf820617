"""`provision` and `info` in an AWS account: the table, its TTL, and the environment of Lambda functions.

A missing permission for one part does not stop the other parts: it becomes a warning in the result.
"""

import re
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import anyio

from ddb_mcp.core.errors import DdbMcpError, Forbidden, Misconfigured, NotProvisioned, Timeout, Unavailable, Unsupported
from ddb_mcp.core.indexes import Index, IndexKey
from ddb_mcp.core.keys import Key, Prefix
from ddb_mcp.stores.base import Progress
from ddb_mcp.stores.direct import codes
from ddb_mcp.stores.direct.aws import AwsClients, ExpectedError, Response
from ddb_mcp.stores.direct.indexes import TableIndexes, define_attributes, define_index

TABLE_READY_SECONDS = 180.0
FUNCTION_READY_SECONDS = 60.0
FUNCTION_REREADS = 3
POLL_SECONDS = 1.0


TTL_ATTRIBUTE = "ttl"
_KEY_SCHEMA = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
_KEYS = (IndexKey("pk"), IndexKey("sk"))
_USABLE = ("ACTIVE", "UPDATING")
_UNUSABLE = ("INACCESSIBLE_ENCRYPTION_CREDENTIALS", "ARCHIVING", "ARCHIVED")


@dataclass
class TableSetup:
    """One table in an account.

    Attributes:
        own: the deployment's prefix, None for a gateway; a key under it is read if the table may not be described.
        indexes: takes what the table's description says of its indexes.
        declared: indexes to create with the table.
        description: the table's, by the last DescribeTable; None if it may not be described.
        warnings: what could not be done or read, and what still works.
    """

    aws: AwsClients
    name: str
    own: Prefix | None
    indexes: TableIndexes
    declared: tuple[Index, ...]
    description: Response | None = None
    warnings: list[str] = field(default_factory=list)

    async def exists(self) -> bool:
        """Return whether the table can be used.

        Raises:
            Misconfigured: it has another key schema, or is archived.
        """
        return await self._status() in _USABLE

    async def create_if_missing(self, progress: Progress) -> bool:
        """Create the table if it is missing, and wait until it can be used, with the indexes that were created.

        Return whether this call created it.

        Raises as `exists`, and:
            Forbidden: it is missing and may not be created.
            Timeout: it is not there after `TABLE_READY_SECONDS`.
        """
        created = False
        deadline = time.monotonic() + TABLE_READY_SECONDS
        while (status := await self._status()) not in _USABLE or (created and self._is_building_indexes()):
            if time.monotonic() > deadline:
                raise Timeout(f"The table {self.name!r} is still not usable ({status or 'missing'}).")
            if status is None and not created:
                created = await self._create()
                await progress(f"creating the table {self.name}")
                continue
            await progress(f"the table {self.name} is {(status or 'creating').lower()}")
            await anyio.sleep(POLL_SECONDS)
        return created

    def _is_building_indexes(self) -> bool:
        return self.description is not None and "CREATING" in self.indexes.states.values()

    def warn_of_indexes(self, declared: tuple[Index, ...] = ()) -> None:
        """Add what is wrong with the indexes, and which of these are missing, to the warnings."""
        if self.description is not None:
            self.warnings += self.indexes.list_warnings(self.description, declared)

    async def get_ttl(self) -> str:
        """Return TTL's state: `enabled`, `enabling`, `disabled`, `disabling`, `unknown`, or `on <other attribute>`."""
        try:
            answer = await self.aws.request("dynamodb", "describe_time_to_live", TableName=self.name)
        except Unsupported:
            self.warnings.append("This engine has no TTL: items are never expired.")
            return "unknown"
        except Forbidden:
            self.warnings.append(
                "The permission dynamodb:DescribeTimeToLive is missing, so it is unknown whether items expire by ttl; "
                "everything else works."
            )
            return "unknown"
        description = answer.get("TimeToLiveDescription", {})
        state = str(description.get("TimeToLiveStatus", "DISABLED")).lower()
        attribute = description.get("AttributeName", TTL_ATTRIBUTE)
        return state if attribute == TTL_ATTRIBUTE or state == "disabled" else f"on {attribute}"

    async def enable_ttl(self) -> str:
        """Enable TTL on `ttl` if it is off, and return its state. Enabling it twice is an error on AWS."""
        state = await self.get_ttl()
        if state == "disabled":
            try:
                await self.aws.request(
                    "dynamodb",
                    "update_time_to_live",
                    expected=("ValidationException",),
                    TableName=self.name,
                    TimeToLiveSpecification={"Enabled": True, "AttributeName": TTL_ATTRIBUTE},
                )
            except ExpectedError:
                pass  # another provision was first, or TTL was changed within the hour
            except (Forbidden, Unsupported) as error:
                self.warnings.append(f"{error.message} So TTL stays off and items never expire; everything else works.")
                return state
            state = await self.get_ttl()
        if state.startswith("on "):
            self.warnings.append(
                f"The table's TTL is {state!r}, which is left alone: items do not expire by {TTL_ATTRIBUTE}."
            )
        elif state in ("disabled", "disabling"):
            self.warnings.append(f"TTL is {state} and could not be enabled now: call provision again in an hour.")
        return state

    async def _status(self) -> str | None:
        try:
            answer = await self.aws.request("dynamodb", "describe_table", TableName=self.name)
        except NotProvisioned:
            return None
        except Forbidden:
            return await self._status_by_reading()
        table = answer["Table"]
        status = str(table.get("TableStatus"))
        if status == "DELETING":
            return status
        try:
            keys = {entry["AttributeName"]: entry["KeyType"] for entry in table["KeySchema"]}
            kinds = {entry["AttributeName"]: entry["AttributeType"] for entry in table["AttributeDefinitions"]}
        except (KeyError, TypeError):
            raise Unavailable("DescribeTable got an answer that is not DynamoDB's.") from None
        if keys != {"pk": "HASH", "sk": "RANGE"} or (kinds.get("pk"), kinds.get("sk")) != ("S", "S"):
            names = ", ".join(f"{name} ({kind})" for name, kind in keys.items())
            raise Misconfigured(
                f"The table {self.name!r} has the keys {names}; they must be pk (HASH) and sk (RANGE), both strings.",
                next="Set DYNAMODB_TABLE to such a table, or to a new name for provision to create.",
            )
        if status in _UNUSABLE:
            raise Misconfigured(
                f"The table {self.name!r} is {status.lower()}.", next="Restore the table or its encryption key."
            )
        self.indexes.take(table)
        self.description = table
        return status

    async def _status_by_reading(self) -> str | None:
        try:
            await self.aws.request("dynamodb", "get_item", TableName=self.name, Key=make_probe_key(self.own).attributes)
        except NotProvisioned:
            return None
        warning = (
            "The permission dynamodb:DescribeTable is missing, so the table answers, but its keys and indexes "
            "are unknown: query cannot use them, and writes to their keys are not checked. Everything else works."
        )
        if warning not in self.warnings:
            self.warnings.append(warning)
        return "ACTIVE"

    async def _create(self) -> bool:
        indexes: dict[str, Any] = {}
        if self.declared:
            indexes["GlobalSecondaryIndexes"] = list(map(define_index, self.declared))
        try:
            await self.aws.request(
                "dynamodb",
                "create_table",
                expected=codes.ACCESS_DENIED | {"ResourceInUseException"},
                TableName=self.name,
                KeySchema=_KEY_SCHEMA,
                AttributeDefinitions=define_attributes(
                    [*_KEYS, *(key for index in self.declared for key in index.keys)]
                ),
                BillingMode="PAY_PER_REQUEST",
                **indexes,
            )
        except ExpectedError as refused:
            if refused.code in codes.ACCESS_DENIED:
                raise Forbidden(
                    f"The table {self.name!r} does not exist, and the permission dynamodb:CreateTable is missing.",
                    next="Ask the account's administrator for the permission, or for a table with partition key pk and "
                    "sort key sk, both strings. Nothing but info works until then.",
                ) from None
            return False  # another provision was first
        return True


class LambdaFunctions(NamedTuple):
    """The Lambda functions whose code uses the table."""

    aws: AwsClients
    names: tuple[str, ...]
    variables: dict[str, str]

    async def get_states(self) -> list[dict[str, Any]]:
        """Return for each function its `name`, its `state`, and a `detail` if there is one.

        A state is `current`, `stale`, `updating`, `failed`, `unreadable`, `missing` or `forbidden`.
        """
        return [await self._reported(name, self._state(name)) for name in self.names]

    async def update(self, progress: Progress) -> list[dict[str, Any]]:
        """Give each function the variables, and keep its others. Return as `get_states`; `updated` is a state too."""
        reports = []
        for name in self.names:
            await progress(f"setting the environment of {name}")
            reports.append(await self._reported(name, self._update(name)))
        return reports

    async def _reported(self, name: str, doing: Any) -> dict[str, Any]:
        try:
            state, detail = await doing
        except NotProvisioned as error:
            state, detail = "missing", error.message
        except Forbidden as error:
            state, detail = "forbidden", f"{error.message} The table works all the same."
        except DdbMcpError as error:
            state, detail = "failed", f"{error.message} Call provision again."
        return {"name": name, "state": state, **({"detail": detail} if detail else {})}

    async def _state(self, name: str) -> tuple[str, str | None]:
        function = await self._read(name)
        if unreadable := _unreadable(function):
            return "unreadable", unreadable
        match function.get("LastUpdateStatus"):
            case "InProgress":
                return "updating", "An update of it is under way."
            case "Failed":
                return "failed", _failed(function)
        return ("current" if self._is_current(function) else "stale"), None

    async def _update(self, name: str) -> tuple[str, str | None]:
        for _ in range(1 + FUNCTION_REREADS):
            function = await self._once_updated(name)
            if unreadable := _unreadable(function):
                return "unreadable", f"{unreadable} Nothing was changed: writing would wipe the other variables."
            # After a failed update these are the variables that it was to have, not those that its code runs with.
            if self._is_current(function) and function.get("LastUpdateStatus") != "Failed":
                return "current", None
            variables = {**function.get("Environment", {}).get("Variables", {}), **self.variables}
            try:
                await self.aws.request(
                    "lambda",
                    "update_function_configuration",
                    expected=(
                        "PreconditionFailedException",
                        "ResourceConflictException",
                        "InvalidParameterValueException",
                    ),
                    FunctionName=name,
                    Environment={"Variables": variables},
                    RevisionId=function["RevisionId"],
                )
            except ExpectedError as refused:
                if refused.code != "InvalidParameterValueException":
                    continue
                if re.search("4 ?KB|too large", refused.message):
                    return "failed", "Lambda refuses the environment: all variables together may have 4 KB."
                return "failed", f"Lambda refuses the change: {refused.message.partition('. ')[0][:300]}"
            function = await self._once_updated(name)
            if function.get("LastUpdateStatus") == "Failed":
                return "failed", _failed(function)
            return "updated", None
        return "failed", "Others changed the function each time; nothing was changed. Call provision again."

    async def _read(self, name: str) -> Response:
        function = await self.aws.request("lambda", "get_function_configuration", FunctionName=name)
        if "RevisionId" not in function:
            raise Unavailable("GetFunctionConfiguration got an answer that is not Lambda's.")
        return function

    async def _once_updated(self, name: str) -> Response:
        """Return the configuration once no update of it is in progress; Lambda refuses changes until then."""
        deadline = time.monotonic() + FUNCTION_READY_SECONDS
        while (function := await self._read(name)).get("LastUpdateStatus") == "InProgress":
            if time.monotonic() > deadline:
                raise Timeout(f"The function {name} is still being updated.")
            await anyio.sleep(POLL_SECONDS)
        return function

    def _is_current(self, function: Response) -> bool:
        variables: dict[str, str] = function.get("Environment", {}).get("Variables", {})
        return self.variables.items() <= variables.items()


def _unreadable(function: Response) -> str | None:
    """Return why the environment could not be read, which Lambda reports inside a successful answer."""
    environment = function.get("Environment", {})
    if "Error" not in environment:
        return None
    return f"Its environment cannot be read ({environment['Error'].get('ErrorCode') or 'unknown'})."


def _failed(function: Response) -> str:
    return f"Lambda could not apply the last change ({function.get('LastUpdateStatusReasonCode', 'no reason given')})."


def make_probe_key(own: Prefix | None) -> Key:
    """Return a key of the deployment, to read if only the table's answer matters, whether an item has it or not."""
    return Key(f"{own.joined if own else 'ddb-mcp#gateway#'}provision", "provision")
