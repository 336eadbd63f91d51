"""A pytest plugin: a real Postgres, a real Kafka, faults between them and us, and waiting for what is eventual."""

from kernel_testing.faults import FaultProxy
from kernel_testing.waiting import eventually, eventually_sync

__all__ = ["FaultProxy", "eventually", "eventually_sync"]
