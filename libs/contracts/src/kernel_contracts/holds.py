"""Legal hold and retention: what must be kept, and what is left of what was not. Asked over HTTP alone."""

from pydantic import Field, model_validator

from kernel_contracts.base import Command, Event, JsonObject, Text, Time


class NewHold(Command):
    """Keeps the history of one process, or of all that `filter` finds (the members of the query of GET /processes)."""

    pid: int | None = Field(default=None, ge=1)
    filter: JsonObject | None = None
    reason: Text

    @model_validator(mode="after")
    def _one(self) -> "NewHold":
        if (self.pid is None) == (self.filter is None):
            raise ValueError("name either pid or filter")
        return self


class Hold(Event):
    """A legal hold; it lasts until it is released. What the filter finds is looked for whenever something is to be dropped."""

    id: int
    pid: int | None = None
    filter: JsonObject | None = None
    reason: str
    by: str
    at: Time
    released_by: str | None = None
    released_at: Time | None = None


class Partition(Event):
    """Processes from the pid `lower` to below `upper`, whose history is kept or dropped as a whole.

    Of one that was dropped remain: how many processes and journal rows it had, the first and last pid (of all tenants; only the
    default tenant sees these), and the SHA-256 over the heads of their chains as in a checkpoint. `cleared`: contexts
    of processes up to this pid are gone too.
    """

    lower: int
    upper: int
    dropped_at: Time | None = None
    processes: int | None = None
    rows: int | None = None
    first_pid: int | None = None
    last_pid: int | None = None
    digest: str | None = None
    signed: bool = False
    cleared: int | None = None


class Retention(Event):
    """`keep`: how long after its end the history of a process is kept at least; null is for ever."""

    keep: str | None = None
    partitions: list[Partition]
