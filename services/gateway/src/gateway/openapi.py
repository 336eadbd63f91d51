"""The OpenAPI 3.1 document, made from the operations and the policy table."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from kernel_runtime.problem import MEDIA_TYPE
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.auth.policy import POLICY
from gateway.models.base import ProblemDetails
from gateway.operation import Answer, Body, Operation

_TEMPLATE = "#/components/schemas/{model}"
_PROBLEMS: Mapping[int, tuple[str, str]] = {
    400: ("Malformed", "The body is not JSON that we read."),
    401: ("Unauthorized", "Send a token: `Authorization: Bearer ...`."),
    403: ("Forbidden", "This takes one of the roles admin, integrator."),
    404: ("Not found", "There is no process 4711."),
    409: ("Illegal state change", "A TERMINATED process can't complete; it can nothing any more."),
    410: ("Gone", "What came after this id is no longer kept."),
    412: ("Precondition failed", "The version is 4, not 3."),
    413: ("Content too large", "The body of this operation may have 1,048,576 bytes at most."),
    415: ("Unsupported media type", "text/plain is not understood here."),
    422: ("Invalid input", "/priority: Input should be less than or equal to 100"),
    429: ("Too many requests", "Too much waits to be written. Try again in a moment."),
    503: ("Temporarily unavailable", "process-svc is away. Try again in a moment."),
}
_PATH_INTEGERS = ("pid", "version")


def document(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    operations = list(operations)
    refs, schemas = _schemas(operations)
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kernel",
            "version": version,
            "summary": "Runs a company's processes the way an operating system runs programs.",
            "description": "Times are RFC 3339 with a zone, durations ISO 8601. Every POST takes an `Idempotency-Key`: "
            "the same key and body give the same answer, once. `ETag` is a version; "
            "send it as `If-Match` to change only what you saw.",
            "license": {"name": "Proprietary"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "responses": {str(status): _problem(status) for status in _PROBLEMS},
            "parameters": _PARAMETERS,
        },
    }


_PARAMETERS = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Your own id of this request: sent again, it has no second effect.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        "example": "b6f4c2ba-4c5e-4a53-8a0e-1f9f0b8f1d55",
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "Only while the version is still this one.",
        "schema": {"type": "string", "pattern": '^(\\*|(W/)?"?[0-9]{1,18}"?)$'},
        "example": '"3"',
    },
}


def _schemas(operations: Iterable[Operation]) -> tuple[dict[tuple[type[BaseModel], str], Any], dict[str, Any]]:
    """References by model and direction, and the schemas that they point to."""
    models: dict[tuple[type[BaseModel], Any], None] = {(ProblemDetails, "serialization"): None}
    for operation in operations:
        if operation.body is not None:
            models |= dict.fromkeys((model, "validation") for model in _models(operation.body.model))
        for answer in operation.answers.values():
            models |= dict.fromkeys((model, "serialization") for model in _models(answer.model))
    refs, defined = models_json_schema(list(models), ref_template=_TEMPLATE)
    renamed = {name: re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("_") for name in defined["$defs"]}
    return _rename(refs, renamed), {
        renamed[name]: _rename(schema, renamed) for name, schema in defined["$defs"].items()
    }


def _rename(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: _TEMPLATE.format(model=names[item.rpartition("/")[2]])
            if key == "$ref" and isinstance(item, str)
            else _rename(item, names)
            for key, item in value.items()
        }
    return [_rename(item, names) for item in value] if isinstance(value, list) else value


def _models(schema: Any) -> Iterable[type[BaseModel]]:
    if isinstance(schema, type):
        yield schema
    elif isinstance(schema, dict):
        for item in schema.values():
            yield from _models(item)
    elif isinstance(schema, list):
        for item in schema:
            yield from _models(item)


def _resolved(schema: Any, direction: str, refs: Mapping[tuple[type[BaseModel], str], Any]) -> Any:
    if isinstance(schema, type):
        return refs[schema, direction]
    if isinstance(schema, dict):
        return {key: _resolved(item, direction, refs) for key, item in schema.items()}
    return [_resolved(item, direction, refs) for item in schema] if isinstance(schema, list) else schema


def _operation(operation: Operation, refs: Mapping[tuple[type[BaseModel], str], Any]) -> dict[str, Any]:
    rule = POLICY.get(operation.key)
    roles = (
        "nobody" if rule is None else "anybody with a role" if len(rule.roles) == 5 else ", ".join(sorted(rule.roles))
    )
    own = ", an operator for itself only" if rule and rule.own else ""
    told: dict[str, Any] = {
        "operationId": _id(operation),
        "summary": operation.summary,
        "description": f"{operation.description}\n\nFor {roles}{own}.".strip(),
        "tags": [operation.tag],
        "x-roles": sorted(rule.roles) if rule else [],
        "parameters": _parameters(operation),
        "responses": _responses(operation, refs),
    }
    if operation.body is not None:
        told["requestBody"] = _body(operation.body, refs)
    return told


def _id(operation: Operation) -> str:
    words = [word for word in re.split(r"[^A-Za-z0-9]+", operation.path.removeprefix("/v1/")) if word]
    return "_".join([operation.method.lower(), *words])


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer", "minimum": 1}
            if name in _PATH_INTEGERS
            else {"type": "string", "minLength": 1},
        }
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    found += [
        {"name": q.name, "in": "query", "description": q.description, "schema": dict(q.schema)} for q in operation.query
    ]
    if operation.method == "POST":
        found.append({"$ref": "#/components/parameters/IdempotencyKey"})
    if 412 in operation.refuses:
        found.append({"$ref": "#/components/parameters/IfMatch"})
    return found


def _body(body: Body, refs: Mapping[tuple[type[BaseModel], str], Any]) -> dict[str, Any]:
    content = {
        "schema": _resolved(body.model, "validation", refs),
        "examples": {name: {"value": value} for name, value in body.examples.items()},
    }
    return {"required": body.required, "content": dict.fromkeys(body.media, content)}


def _responses(operation: Operation, refs: Mapping[tuple[type[BaseModel], str], Any]) -> dict[str, Any]:
    told = {str(status): _answer(answer, refs) for status, answer in operation.answers.items()}
    statuses = {401, 403, 503, 422, *operation.refuses}
    if operation.body is not None:
        statuses |= {400, 413, 415}
    if operation.method != "GET":
        statuses.add(429)
    if operation.method == "POST":
        statuses.add(409)
    return told | {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}


def _answer(answer: Answer, refs: Mapping[tuple[type[BaseModel], str], Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        told["headers"] = {
            name.title(): {"description": text, "schema": {"type": "string"}} for name, text in answer.headers.items()
        }
    if answer.model is not None:
        content: dict[str, Any] = {"schema": _resolved(answer.model, "serialization", refs)}
        if answer.example is not None:
            content["example"] = answer.example
        told["content"] = {answer.media: content}
    return told


def _problem(status: int) -> dict[str, Any]:
    title, detail = _PROBLEMS[status]
    example: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if status == 422:
        example["errors"] = [{"pointer": "/priority", "message": "Input should be less than or equal to 100"}]
    told: dict[str, Any] = {
        "description": title,
        "content": {MEDIA_TYPE: {"schema": {"$ref": _TEMPLATE.format(model="ProblemDetails")}, "example": example}},
    }
    if status in (429, 503):
        told["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    if status == 401:
        told["headers"] = {"WWW-Authenticate": {"description": "What is wanted.", "schema": {"type": "string"}}}
    return told
