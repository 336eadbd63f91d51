"""The document: valid, complete, and every example in it fits its schema."""

import re
from typing import Any

import jsonschema_rs
import pytest
from gateway import __version__
from gateway.openapi import document
from gateway.operation import Body
from gateway.routes import operations
from kernel_runtime.database import Database
from pydantic import BaseModel

OPERATIONS = operations(Database("postgresql://nowhere", name="none"))
DOCUMENT = document(OPERATIONS, __version__)


def _absolute(schema: Any) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "components": DOCUMENT["components"]}


def _walk(value: Any) -> Any:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


def test_every_reference_leads_somewhere() -> None:
    for value in _walk(DOCUMENT):
        reference = value.get("$ref")
        if isinstance(reference, str):
            at: Any = DOCUMENT
            for part in reference.removeprefix("#/").split("/"):
                at = at[part]


def test_component_names_and_operation_ids_are_sound() -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in DOCUMENT["components"]["schemas"])
    ids = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids)) == len(OPERATIONS)


def test_every_operation_is_told_in_full() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            where = (method, path)
            assert operation["summary"], where
            assert operation["tags"], where
            assert operation["x-roles"], where
            assert {"401", "403", "503"} <= set(operation["responses"]), where
            named = set(re.findall(r"{(\w+)}", path))
            assert named == {p["name"] for p in operation["parameters"] if p.get("in") == "path"}, where


CASES = [
    (operation.key, direction, name, value)
    for operation in OPERATIONS
    for direction, found in (
        ("body", operation.body.examples.items() if operation.body else ()),
        ("answer", [(status, answer.example) for status, answer in operation.answers.items()]),
    )
    for name, value in found
    if value is not None
]


@pytest.mark.parametrize(
    ("key", "direction", "name", "value"), CASES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_examples_fit_their_schemas(key: str, direction: str, name: Any, value: Any) -> None:
    method, path = key.split(" ")
    operation = DOCUMENT["paths"][path][method.lower()]
    told = operation["requestBody"] if direction == "body" else operation["responses"][str(name)]
    schema = next(iter(told["content"].values()))["schema"]
    jsonschema_rs.validator_for(_absolute(schema)).validate(value)


@pytest.mark.parametrize("key", [operation.key for operation in OPERATIONS if operation.body])
def test_examples_of_bodies_fit_the_contracts(key: str) -> None:
    body: Body = next(operation.body for operation in OPERATIONS if operation.key == key and operation.body)
    if isinstance(body.model, type) and issubclass(body.model, BaseModel):
        for value in body.examples.values():
            body.model.model_validate(value)


def test_problems_have_examples_of_their_form() -> None:
    schema = _absolute({"$ref": "#/components/schemas/ProblemDetails"})
    for response in DOCUMENT["components"]["responses"].values():
        jsonschema_rs.validator_for(schema).validate(response["content"]["application/problem+json"]["example"])
