"""Everything wired, on one screen."""

from kernel_runtime.lease import while_held
from kernel_runtime.service import Parts
from kernel_runtime.supervise import Stop

from scheduler_svc.batch import Batch
from scheduler_svc.consumer import ROUTES, TOPICS
from scheduler_svc.handlers import HANDLERS
from scheduler_svc.http import routes
from scheduler_svc.memory import Memory
from scheduler_svc.planner import Planner
from scheduler_svc.settings import Settings

SHARD = "planner-0"
"""The lease of whoever plans. One shard for now: all queues."""


async def serve(settings: Settings, stop: Stop) -> None:
    """Runs until `stop`. Every replica answers HTTP; the one that holds the lease reads the topics and plans."""
    parts = Parts("scheduler-svc", settings, lambda: Batch(memory), HANDLERS)
    lease = parts.lease(SHARD)
    memory = Memory(lease, settings.most_placements)
    consumer = parts.consumer(TOPICS, ROUTES, assign=True)
    planner = Planner(parts.pipeline, memory, consumer)
    await parts.run(
        stop,
        routes(parts.database, parts.pipeline, settings),
        lease.keep,
        lambda: while_held(lease, planner.run),
    )
