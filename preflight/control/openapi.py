"""The OpenAPI 3.1 document, made from the route table and the wire models."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from preflight.control.auth import Access
from preflight.control.models import Wire
from preflight.control.routes import FEATURES, JSON, TEXT, Route

_EVERYWHERE = (408, 429, 500, 503)
_WITH_BEARER = (401, 403)
_WITH_BODY = (400, 413, 415, 422)
_LEASE = {"lease_id": "$response.body#/lease_id", "claimer_node_id": "$response.body#/holder_node_id"}
_LINKS: dict[str, dict[str, dict[str, str]]] = {
    "join": {
        "leave": {"id": "$response.body#/id"},
        "grant_exec_lease": {"claimer_node_id": "$response.body#/id"},
        "quarantine": {"node_id": "$response.body#/id"},
    },
    "deliver": {
        "acknowledge": {
            "receiver_agent_id": "$request.body#/receiver_agent_id",
            "message_id": "$response.body#/message_id",
        }
    },
    "grant_exec_lease": {
        "renew_exec_lease": _LEASE,
        "release_exec_lease": _LEASE,
        "revoke_exec_lease": {"lease_id": "$response.body#/lease_id"},
    },
}
"""Which operation uses the answer of another one, by operation id."""


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The description of `routes`; `version` is the program's."""
    wire = {model for route in routes for model in (route.takes, route.gives) if isinstance(model, type)}
    _, schemas = models_json_schema(
        [(model, "validation") for model in sorted(wire, key=lambda model: model.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Populi control plane",
            "version": version,
            "description": "The control plane that is bundled with preflight. Error bodies are plain text.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "headers": {
                "x-populi-feature": {"schema": {"type": "string"}, "example": ",".join(FEATURES), "required": True},
                "x-request-id": {"schema": {"type": "string"}, "required": True},
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "description": f"Admitted: {route.access.value}.",
        "responses": _responses(route),
        "security": [] if route.access is Access.ANYBODY else [{"bearer": []}],
    }
    if route.takes is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": _reference(route.takes)}}}
    return operation


def _responses(route: Route) -> dict[str, Any]:
    refusals = {*route.refusals, *_EVERYWHERE}
    if route.access is not Access.ANYBODY:
        refusals |= set(_WITH_BEARER)
    if route.takes is not None:
        refusals |= set(_WITH_BODY)
    answers = {str(status): _response(status, TEXT) for status in sorted(refusals)}
    success = 204 if route.gives is None else 200
    answer = _response(success, route.gives)
    links = _LINKS.get(route.handler.__name__, {})
    if links:
        answer["links"] = {name: {"operationId": name, "requestBody": body} for name, body in links.items()}
    return {str(success): answer, **answers}


def _response(status: int, gives: type[Wire] | str | None) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in ("x-populi-feature", "x-request-id")},
    }
    if gives == TEXT:
        response["content"] = {TEXT: {"schema": {"type": "string"}}}
    elif isinstance(gives, type):
        response["content"] = {JSON: {"schema": _reference(gives)}}
    return response


def _reference(model: type[Wire]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
