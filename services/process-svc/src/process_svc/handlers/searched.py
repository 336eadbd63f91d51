"""What searches find processes by, kept with them: texts of new ones, declared members of changed contexts."""

import time
from collections.abc import Iterable, Mapping, Sequence

import orjson
from kernel_runtime.database import Connection

from process_svc.domain.process import Process
from process_svc.memory import Memory
from process_svc.store import attributes
from process_svc.store.services import StoredService

FRESH = 1.0
"""Seconds for which a replica may not have heard of a declaration; well below `attributes.SETTLING`."""


async def refresh(memory: Memory, connection: Connection) -> None:
    """Reads what services have declared, where that was a while ago."""
    now = time.monotonic()
    if now - memory.paths_at > FRESH:
        memory.paths = await attributes.paths(connection)
        memory.paths_at = now


async def save(
    memory: Memory,
    connection: Connection,
    processes: Mapping[int, Process],
    new: Iterable[int],
    contexts: Iterable[int],
) -> None:
    """After the processes: `new` ones, and those with new `contexts`, new ones among them."""
    await attributes.add_texts(connection, [processes[pid] for pid in new])
    if not memory.paths and not memory.catalog.indexes:
        return
    wanted = {pid: names for pid in contexts if (names := _paths(memory, processes[pid]))}
    if wanted:
        fresh = set(new)
        await attributes.put(connection, wanted, [pid for pid in wanted if pid not in fresh])


def _paths(memory: Memory, process: Process) -> Sequence[str]:
    """Declared by its own version, or by another one of its service."""
    own = memory.catalog.get(process.tenant, process.service, process.service_version).definition.indexed
    others = memory.paths.get((process.tenant, process.service))
    return own if others is None else list(others.union(own))


async def define(connection: Connection, services: Sequence[StoredService]) -> None:
    """What they declare. The first version of a service has no older processes that would have to be brought in."""
    new = [
        (each.tenant, each.name, path, each.version == 1)
        for each in services
        for path in orjson.loads(each.definition).get("indexed", ())
    ]
    if new:
        await attributes.declare(connection, new)
