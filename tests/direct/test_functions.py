"""The environment of Lambda functions, on ministack: two variables set, no other touched, no change of others lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest

from ddb_mcp.stores.direct import aws as aws_module
from ddb_mcp.stores.direct import provisioning
from tests.direct.support import CREDENTIALS, aws, direct, lambda_function
from tests.support.engines import client_options
from tests.support.faults import Answer, FaultProxy, dynamodb_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.from_thread import BlockingPortal
    from mypy_boto3_lambda import LambdaClient

    from ddb_mcp.stores.direct.store import DirectStore
    from tests.support.engines import Engine


@pytest.fixture(autouse=True)
def poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning, "POLL_SECONDS", 0.01)


@pytest.fixture
def functions(ministack: Engine) -> LambdaClient:
    client: LambdaClient = boto3.client("lambda", endpoint_url=ministack.endpoint, **client_options())
    return client


@pytest.fixture
def name(ministack: Engine) -> str:
    return lambda_function(ministack)


@pytest.fixture
def proxy(ministack: Engine) -> Iterator[FaultProxy]:
    with FaultProxy(ministack.endpoint) as proxy, aws(proxy.endpoint, **CREDENTIALS):
        yield proxy


@pytest.fixture
def store(ministack: Engine, proxy: FaultProxy, name: str) -> DirectStore:
    return direct(ministack.create_table(), lambda_functions=(name,))


def provisioned(portal: BlockingPortal, store: DirectStore) -> list[dict[str, Any]]:
    async def quiet(message: str) -> None:
        pass

    reports: list[dict[str, Any]] = portal.call(store.provision, quiet).details["lambdaFunctions"]
    return reports


def stated(portal: BlockingPortal, store: DirectStore) -> list[dict[str, Any]]:
    reports: list[dict[str, Any]] = portal.call(store.info).details["lambdaFunctions"]
    return reports


def variables(functions: LambdaClient, name: str) -> dict[str, str]:
    return functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]


def path(name: str) -> str:
    return f"/2015-03-31/functions/{name}/configuration"


def test_two_variables_are_set_and_no_other_is_touched(
    portal: BlockingPortal, proxy: FaultProxy, functions: LambdaClient, store: DirectStore, name: str
) -> None:
    assert stated(portal, store) == [{"name": name, "state": "stale"}]
    assert provisioned(portal, store) == [{"name": name, "state": "updated"}]
    expected = {"OTHER": "kept", "DYNAMODB_TABLE": store._table, "DYNAMODB_PREFIX": "deploy#me"}
    assert variables(functions, name) == expected
    assert stated(portal, store) == [{"name": name, "state": "current"}]
    revision = functions.get_function_configuration(FunctionName=name)["RevisionId"]
    assert provisioned(portal, store) == [{"name": name, "state": "current"}]
    assert functions.get_function_configuration(FunctionName=name)["RevisionId"] == revision


@pytest.fixture
def meddling(
    functions: LambdaClient, store: DirectStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, str]]:
    """Environments that somebody else gives the function, one after each time that we have read it."""
    changes: list[dict[str, str]] = []
    call = store._aws.request

    async def meddled(service: str, operation: str, **parameters: Any) -> Any:
        answer = await call(service, operation, **parameters)
        if (
            operation == "get_function_configuration"
            and changes
            and answer
            and answer["LastUpdateStatus"] != "InProgress"
        ):
            functions.update_function_configuration(FunctionName=name, Environment={"Variables": changes.pop(0)})
        return answer

    monkeypatch.setattr(store._aws, "request", meddled)
    return changes


@pytest.mark.parametrize("times", [1, 3])
def test_a_concurrent_change_is_kept(
    portal: BlockingPortal,
    functions: LambdaClient,
    store: DirectStore,
    name: str,
    meddling: list[dict[str, str]],
    times: int,
) -> None:
    meddling += [{"THEIRS": str(at)} for at in range(times)]
    assert provisioned(portal, store)[0]["state"] == "updated"
    expected = {"THEIRS": str(times - 1), "DYNAMODB_TABLE": store._table, "DYNAMODB_PREFIX": "deploy#me"}
    assert variables(functions, name) == expected


def test_it_reads_again_three_times_and_gives_up(
    portal: BlockingPortal, functions: LambdaClient, store: DirectStore, name: str, meddling: list[dict[str, str]]
) -> None:
    meddling += [{"THEIRS": str(at)} for at in range(4)]
    (report,) = provisioned(portal, store)
    assert report["state"] == "failed"
    assert variables(functions, name) == {"THEIRS": "3"}


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"Error": {"ErrorCode": "AccessDeniedException", "Message": "KMS"}}, "AccessDeniedException"),
        ({"Error": {"Message": "KMS"}}, "cannot be read"),
        ({"Error": {}}, "cannot be read"),
        ({"Variables": {}, "Error": {"ErrorCode": ""}}, "cannot be read"),
    ],
    ids=str,
)
def test_an_environment_that_cannot_be_read_is_not_written(
    portal: BlockingPortal,
    proxy: FaultProxy,
    functions: LambdaClient,
    store: DirectStore,
    name: str,
    environment: dict[str, Any],
    words: str,
) -> None:
    unreadable = {
        "FunctionName": name,
        "RevisionId": "r",
        "LastUpdateStatus": "Successful",
        "Environment": environment,
    }
    proxy.plan(Answer(200, unreadable), times=2, on=path(name))
    assert stated(portal, store)[0]["state"] == "unreadable"
    (report,) = provisioned(portal, store)
    assert report["state"] == "unreadable"
    assert words in report["detail"]
    assert proxy.count(path(name)) == 2  # both of them reads
    assert variables(functions, name) == {"OTHER": "kept", "DYNAMODB_TABLE": "old"}


def test_an_update_in_progress_is_waited_for(
    portal: BlockingPortal, proxy: FaultProxy, functions: LambdaClient, store: DirectStore, name: str
) -> None:
    busy = {"FunctionName": name, "RevisionId": "r", "LastUpdateStatus": "InProgress"}
    proxy.plan(Answer(200, busy), times=3, on=path(name))
    assert provisioned(portal, store)[0]["state"] == "updated"
    assert variables(functions, name)["OTHER"] == "kept"


def test_functions_that_are_missing_or_forbidden_do_not_stop_the_rest(
    portal: BlockingPortal, ministack: Engine, proxy: FaultProxy, name: str
) -> None:
    store = direct(ministack.create_table(), lambda_functions=("no-such", "not-ours", name))
    denied = Answer(403, {"Message": "no"}, {"x-amzn-ErrorType": "AccessDeniedException"})
    proxy.plan(denied, on=path("not-ours"))
    missing, forbidden, done = provisioned(portal, store)
    assert missing["state"] == "missing"
    assert forbidden["state"] == "forbidden"
    assert "lambda:GetFunctionConfiguration" in forbidden["detail"]
    assert done == {"name": name, "state": "updated"}


def configured(store: DirectStore, name: str, status: str) -> Answer:
    """The function as Lambda shows it with our variables, which it need not run with yet."""
    return Answer(
        200,
        {
            "FunctionName": name,
            "RevisionId": "r",
            "LastUpdateStatus": status,
            "LastUpdateStatusReasonCode": "EniLimitExceeded",
            "Environment": {"Variables": {"DYNAMODB_TABLE": store._table, "DYNAMODB_PREFIX": "deploy#me"}},
        },
    )


def test_variables_that_could_not_be_applied_are_not_current(
    portal: BlockingPortal, proxy: FaultProxy, functions: LambdaClient, store: DirectStore, name: str
) -> None:
    proxy.plan(configured(store, name, "InProgress"), on=path(name))
    assert stated(portal, store)[0]["state"] == "updating"
    proxy.plan(configured(store, name, "Failed"), on=path(name))
    (report,) = stated(portal, store)
    assert report["state"] == "failed"
    assert "EniLimitExceeded" in report["detail"]

    proxy.plan(configured(store, name, "Failed"), times=3, on=path(name))  # read, written once more, read
    assert provisioned(portal, store)[0]["state"] == "failed"
    assert provisioned(portal, store)[0]["state"] == "updated"
    assert variables(functions, name)["OTHER"] == "kept"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>Sign in</html>", {"Content-Type": "text/html"}),
        Answer(200, {"FunctionName": "f"}),
        Answer(200, {"Environment": {"Variables": {}}}),
        Answer(200, {"RevisionId": "r", "Environment": []}),
        Answer(200, b"[]"),
        Answer(200, b"[" * 100_000),
    ],
    ids=lambda answer: str(answer.body)[:30],
)
def test_what_is_no_answer_of_lambda_fails_that_function_alone(
    portal: BlockingPortal,
    ministack: Engine,
    proxy: FaultProxy,
    name: str,
    answer: Answer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aws_module, "BACKOFF_SECONDS", 0.001)
    store = direct(ministack.create_table(), lambda_functions=("odd", name))
    proxy.plan(answer, times=2 * aws_module.AWS_ATTEMPTS, on=path("odd"))
    assert [report["state"] for report in stated(portal, store)] == ["failed", "stale"]
    odd, done = provisioned(portal, store)
    assert odd["state"] == "failed"
    assert "Lambda" in odd["detail"]
    assert done == {"name": name, "state": "updated"}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided exceeded the 4KB limit. String measured: {hush}",
            "4 KB",
        ),
        ("The provided execution role does not have permissions to call CreateNetworkInterface", "execution role"),
    ],
)
def test_why_lambda_refuses_a_change_is_said(
    portal: BlockingPortal, proxy: FaultProxy, store: DirectStore, name: str, message: str, words: str
) -> None:
    stale = {"FunctionName": name, "RevisionId": "r", "LastUpdateStatus": "Successful"}
    headers = {"x-amzn-ErrorType": "InvalidParameterValueException"}
    proxy.plan(Answer(200, stale), on=path(name))
    proxy.plan(Answer(400, {"message": message}, headers), on=path(name))
    (report,) = provisioned(portal, store)
    assert report["state"] == "failed"
    assert words in report["detail"]
    assert ("4 KB" in report["detail"]) == ("4KB" in message)
    assert "hush" not in report["detail"]


def test_a_lost_answer_is_looked_up(
    portal: BlockingPortal, proxy: FaultProxy, functions: LambdaClient, store: DirectStore, name: str
) -> None:
    proxy.plan(dynamodb_error("ServiceException", 500), on=path(name))
    assert provisioned(portal, store)[0]["state"] == "updated"
    assert variables(functions, name)["OTHER"] == "kept"
