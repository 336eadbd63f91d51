"""Answers that many operations share."""

from typing import Any

from pydantic import BaseModel

from gateway.models.base import Page
from gateway.operation import Answer

ETAG = {"etag": "Its version."}


def part(model: type[BaseModel], example: Any) -> dict[int, Answer]:
    """A part of a list."""
    return {200: Answer("A part of the list.", Page[model], {"items": [example], "next": None})}  # type: ignore[valid-type]


def one(model: type[BaseModel], example: Any, description: str = "It.") -> dict[int, Answer]:
    return {200: Answer(description, model, example, ETAG)}


def defined(model: type[BaseModel], example: Any) -> dict[int, Answer]:
    """Of a PUT."""
    return {
        200: Answer("As it is now; the same again changes nothing.", model, example, ETAG),
        201: Answer("It is new.", model, example, ETAG),
    }
