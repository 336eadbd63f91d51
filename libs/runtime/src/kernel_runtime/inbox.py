"""The inbox: ids of commands that were done, with their answers, in the transaction of their effect.

The same id again gives the same answer; the same id with another body is refused. Ids are looked up before the work and
inserted with the answers after it: one write a command. Where another transaction was faster, the insert finds the id
taken, and the whole batch starts again (`AlreadyDoneError`).
"""

from collections.abc import Mapping, Sequence

import orjson

from kernel_runtime.command import Answer, Command, Result
from kernel_runtime.database import Connection
from kernel_runtime.problem import Problem, invalid


class AlreadyDoneError(Exception):
    """Another transaction did one of these commands meanwhile."""


_LOOK_UP = "SELECT id, fingerprint, status, body, headers FROM inbox WHERE id = ANY($1::text[])"
_INSERT = """
INSERT INTO inbox (id, fingerprint, status, body, headers)
SELECT * FROM unnest($1::text[], $2::bytea[], $3::smallint[], $4::bytea[], $5::text[])
ON CONFLICT (id) DO NOTHING RETURNING 1
"""
_FORGET = """
DELETE FROM inbox WHERE id IN (
    SELECT id FROM inbox WHERE at < clock_timestamp() - make_interval(days => $1) LIMIT 5000)
"""


_PASSING = frozenset((429, 500, 503))
"""Problems of the moment: the same id may be tried again."""


async def look_up(connection: Connection, commands: Sequence[Command]) -> dict[str, Result]:
    """What is remembered of these commands, by id."""
    wanted = {command.id: command for command in commands if command.fingerprint is not None}
    if not wanted:
        return {}
    return {row["id"]: _answer(row, wanted[row["id"]]) for row in await connection.fetch(_LOOK_UP, list(wanted))}


async def remember(connection: Connection, done: Mapping[Command, Result]) -> None:
    """Keeps the answers of commands that have a fingerprint; raises AlreadyDoneError where an id is taken."""
    rows = sorted(
        (command.id, command.fingerprint, *_parts(result))
        for command, result in done.items()
        if command.fingerprint is not None and not (isinstance(result, Problem) and result.status in _PASSING)
    )
    if not rows:
        return
    inserted = await connection.fetch(_INSERT, *map(list, zip(*rows, strict=True)))
    if len(inserted) != len(rows):
        raise AlreadyDoneError


async def forget(connection: Connection, days: int) -> int:
    """Drops what is older than `days`, at most 5,000 rows a call; returns how many."""
    status = await connection.execute(_FORGET, days)
    return int(status.rsplit(" ", 1)[1])


def _parts(result: Result) -> tuple[int, bytes, str]:
    if isinstance(result, Problem):
        return result.status, result.as_json(), ""
    return result.status, result.body, orjson.dumps(result.headers).decode()


def reused(command: Command) -> Problem:
    return invalid(
        f"The id {command.id.rsplit('|', 1)[-1]!r} was used before with another content. Use a new one for a new request."
    )


def _answer(row: Mapping[str, object], command: Command) -> Result:
    if row["fingerprint"] != command.fingerprint:
        return reused(command)
    body = row["body"]
    assert isinstance(body, bytes)
    assert isinstance(row["status"], int)
    if row["headers"] == "":
        stored = orjson.loads(body)
        return Problem(
            stored.pop("status"),
            stored.pop("title"),
            stored.pop("detail"),
            stored.pop("type"),
            tuple((item["pointer"], item["message"]) for item in stored.pop("errors", ())),
            stored,
        )
    return Answer(row["status"], body, orjson.loads(str(row["headers"])))
