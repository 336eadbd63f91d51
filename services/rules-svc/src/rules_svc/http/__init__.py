"""The HTTP door: events in, definitions, and why something happened."""

from kernel_runtime.database import Database
from kernel_runtime.pipeline import Pipeline
from starlette.routing import BaseRoute

from rules_svc.book import Memory
from rules_svc.http.definitions import DefinitionDoor
from rules_svc.http.events import EventDoor


def routes(pipeline: Pipeline, database: Database, memory: Memory) -> list[BaseRoute]:
    """All of them."""
    return [*EventDoor(pipeline, database).routes(), *DefinitionDoor(pipeline, database, memory).routes()]
