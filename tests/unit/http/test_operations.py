"""Every operation of the service has a route, or a reason to have none."""

import inspect
from collections import Counter

import pytest

from engine.http.app import http_app
from engine.http.endpoints import PREFIX, endpoints
from engine.http.resource import Endpoint
from engine.model.states import KeyScope, Role
from engine.service.service import Service
from tests.unit.service.test_operations import COMMANDS, QUERIES, name_of

_SOURCE = "works on the database of the source, with the rights of the operator who configured it"
_ANOTHER = "is reached through the route of another operation"
_OPERATOR = "is reserved for operators"
_LONG = "runs for as long as it takes: the command line shows its progress"
WITHOUT_ROUTE = {
    "commands.attachments.attach": _SOURCE,
    "commands.attachments.detach": _SOURCE,
    "commands.attachments.attached_tables": _SOURCE,
    "commands.attachments.forget_reader": _OPERATOR,
    "commands.grants.grant": _OPERATOR,
    "commands.grants.revoke": _OPERATOR,
    "commands.api_keys.extend_key": _OPERATOR,
    "commands.orgs.set_grants": _OPERATOR,
    "commands.orgs.set_quota": _OPERATOR,
    "commands.orgs.set_trusted": _OPERATOR,
    "commands.sweeps.sweep": _LONG,
    "commands.sweeps.preview_sweep": _LONG,
    "commands.verify.verify": _LONG,
    "queries.health.inflow": "checks the broker of the process that calls it",
    "commands.invalidations.replay_all": _ANOTHER,
    "commands.undeploys.preview_undeploy_of": _ANOTHER,
    "queries.deploys.preview": _ANOTHER,
    "commands.ingestion.ingest_messages": "takes messages that are divided already",
}
ENDPOINTS = endpoints()


def test_every_operation_has_a_route_or_a_reason_to_have_none() -> None:
    routed = {name_of(each.operation) for each in ENDPOINTS if each.operation is not None}
    every = {name_of(operation) for operation in QUERIES + COMMANDS}
    assert every - routed == {*WITHOUT_ROUTE}


def test_names_and_paths_are_distinct() -> None:
    names = Counter(each.name for each in ENDPOINTS)
    paths = Counter((each.method, each.path) for each in ENDPOINTS)
    assert [key for key, count in (names + paths).items() if count > 1] == []


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: each.name)
def test_rights_are_those_of_the_operation(endpoint: Endpoint) -> None:
    if endpoint.operation is None:
        assert (endpoint.role, endpoint.scopes) == (Role.READER, frozenset(KeyScope))
    else:
        assert endpoint.role is endpoint.operation.required_role
        assert endpoint.scopes == endpoint.operation.scopes
        assert endpoint.requires_task is endpoint.operation.requires_task
        assert inspect.iscoroutinefunction(inspect.unwrap(endpoint.operation))
    # A query reads; an operation that requires more than a reader may write.
    assert (endpoint.method == "GET") == (
        "queries" in getattr(endpoint.operation, "__module__", "queries")
    )


def test_the_document_describes_every_endpoint() -> None:
    document = http_app(Service.__new__(Service)).openapi()
    operations = {
        (method.upper(), path.removeprefix(PREFIX)): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert operations.keys() == {(each.method, each.path) for each in ENDPOINTS}
    schemas = document["components"]["schemas"]
    for each in ENDPOINTS:
        operation = operations[each.method, each.path]
        assert operation["operationId"] == each.name
        assert operation["summary"].endswith(".")
        assert each.is_public or str(each.role) in operation["description"]
        assert (operation["security"] == []) is each.is_public
        assert str(int(each.status)) in operation["responses"]
        content = operation.get("requestBody", {}).get("content", {})
        assert ("*/*" in content) is each.is_raw
        body = content.get("application/json")
        if body is not None:
            (reference, *_) = body["schema"].get("anyOf", [body["schema"]])
            schema = schemas[reference["$ref"].rpartition("/")[2]]
            assert schema["examples"], each.name
            assert schema["additionalProperties"] is False
    for reference in references(document):
        assert reference.rpartition("/")[2] in schemas


def references(value: object) -> list[str]:
    """All references in a document."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in references(item)]
    return (
        [found for item in value for found in references(item)] if isinstance(value, list) else []
    )
