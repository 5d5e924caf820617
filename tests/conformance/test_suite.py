"""The official conformance suite over HTTP and at a gateway: what two protocol revisions require of any server.

The suite is written for a server made for it, with tools such as `test_simple_text`. What needs those is left out by
name below. Each scenario left out must really fail, and each that runs must be named here, so that no name goes stale.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.engines import CONFORMANCE_MODULES

if TYPE_CHECKING:
    from tests.conformance.conftest import Node

    Checks = dict[str, list[dict[str, Any]]]

SUITE = str(CONFORMANCE_MODULES / ".bin" / "conformance")

APPLICABLE = {
    "2025-11-25": (
        "dns-rebinding-protection",
        "ping",
        "prompts-list",
        "resources-list",
        "server-initialize",
        "server-session-lifecycle",
        "server-sse-multiple-streams",
        "server-sse-polling",
        "tools-list",
    ),
    "2026-07-28": (
        "caching",
        "dns-rebinding-protection",
        "http-header-validation",
        "input-required-result-ignore-extra-params",
        "input-required-result-missing-input-response",
        "input-required-result-unsupported-methods",
        "input-required-result-validate-input",
        "prompts-list",
        "resources-list",
        "sep-2164-resource-not-found",
        "server-sse-multiple-streams",
        "server-stateless",
        "tools-list",
    ),
}

LEFT_OUT = {
    "needs tools made for the suite": {
        "elicitation-sep1034-defaults",
        "elicitation-sep1330-enums",
        "http-custom-header-server-validation",
        "input-required-result-basic-elicitation",
        "input-required-result-basic-list-roots",
        "input-required-result-basic-sampling",
        "input-required-result-capability-check",
        "input-required-result-multi-round",
        "input-required-result-multiple-input-requests",
        "input-required-result-request-state",
        "input-required-result-result-type",
        "input-required-result-tampered-state",
        "json-schema-2020-12",
        "tools-call-audio",
        "tools-call-elicitation",
        "tools-call-embedded-resource",
        "tools-call-error",
        "tools-call-image",
        "tools-call-mixed-content",
        "tools-call-sampling",
        "tools-call-simple-text",
        "tools-call-with-logging",
        "tools-call-with-progress",
    },
    "needs prompts made for the suite": {
        "input-required-result-non-tool-request",
        "prompts-get-embedded-resource",
        "prompts-get-simple",
        "prompts-get-with-args",
        "prompts-get-with-image",
    },
    "needs resources made for the suite": {
        "resources-read-binary",
        "resources-read-text",
        "resources-templates-read",
    },
    "needs a capability that the server does not claim": {
        "completion-complete",
        "logging-set-level",
        "resources-subscribe",
        "resources-unsubscribe",
        "tasks-capability-negotiation",
        "tasks-dispatch-and-envelope",
        "tasks-lifecycle",
        "tasks-mrtr-composition",
        "tasks-mrtr-input",
        "tasks-request-headers",
        "tasks-request-state-removal",
        "tasks-required-task-error",
        "tasks-status-notifications",
        "tasks-wire-fields",
    },
}

# Single checks of applicable scenarios that need tools made for the suite.
UNTESTABLE = {
    "sep-2575-http-server-no-independent-requests-on-stream",
    "sep-2575-missing-capability-http-400",
    "sep-2575-server-no-log-without-loglevel",
    "sep-2575-server-rejects-undeclared-capability",
}

SKILLS = ("sep-2640-skills-directory", "sep-2640-skills-enumeration", "sep-2640-skills-manifest")


# A gateway has whatever name its operator gives it, and wants a token, which no page has.
HTTP_ONLY = "dns-rebinding-protection"


@pytest.fixture(scope="module", params=["http", "gateway"])
def face(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def address(request: pytest.FixtureRequest, face: str) -> str:
    found: str = request.getfixturevalue("url" if face == "http" else "open_gateway_url")
    return found


@pytest.fixture(scope="module")
def results(node: Node, address: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checks]:
    """For each revision the scenarios that it requires, or reports without requiring them, with their checks."""
    revisions: dict[str, Checks] = {}
    for revision in APPLICABLE:
        folder = tmp_path_factory.mktemp(revision)
        node(SUITE, "server", "--url", address, "--requirements", revision, "--output-dir", str(folder))
        revisions[revision] = {}
        for path in folder.glob("server-*/checks.json"):
            name = re.sub(r"-\d{4}-\d\d-\d\dT.*", "", path.parent.name.removeprefix("server-"))
            revisions[revision][name] = json.loads(path.read_text())
    return revisions


def _failures(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [check for check in checks if check["status"] == "FAILURE"]


@pytest.mark.parametrize(
    ("revision", "scenario"), [(revision, scenario) for revision, names in APPLICABLE.items() for scenario in names]
)
def test_a_scenario_that_applies_passes(results: dict[str, Checks], face: str, revision: str, scenario: str) -> None:
    failures = _failures(results[revision][scenario])
    if face == "gateway" and scenario == HTTP_ONLY:
        assert failures
        return
    assert [failure for failure in failures if failure["id"] not in UNTESTABLE] == []
    assert all(failure["details"]["untestable"] for failure in failures)


@pytest.mark.parametrize("revision", APPLICABLE)
def test_what_is_left_out_is_named_and_cannot_pass(results: dict[str, Checks], revision: str) -> None:
    left_out = results[revision].keys() - set(APPLICABLE[revision])
    assert left_out <= set.union(*LEFT_OUT.values())
    for scenario in left_out:
        checks = results[revision][scenario]
        assert _failures(checks) or all(check["status"] == "SKIPPED" for check in checks), f"{scenario} passes now"


@pytest.mark.parametrize("scenario", SKILLS)
def test_the_skills_extension_passes(node: Node, address: str, scenario: str) -> None:
    done = node(SUITE, "server", "--url", address, "--scenario", scenario)
    assert done.returncode == 0, done.stdout
    assert "0 failed, 0 warnings" in done.stdout
