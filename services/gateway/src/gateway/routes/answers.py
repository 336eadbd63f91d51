"""Answers that many operations share."""

from typing import Any

from pydantic import BaseModel

from gateway.models.base import Page
from gateway.operation import Answer, Operation

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


def deleted(path: str, summary: str, owner: str) -> Operation:
    """What is in use is not deleted: 409."""
    answers = {200: Answer("It is gone."), 204: Answer("It is gone.")}
    return Operation("DELETE", path, summary, "Design", answers, owner=owner, refuses=(404, 409, 412))
