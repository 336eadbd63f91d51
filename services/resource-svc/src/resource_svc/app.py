"""resource-svc, wired."""

from kernel_runtime.service import Parts
from kernel_runtime.supervise import Stop

from resource_svc import http
from resource_svc.consumer import ROUTES, TOPICS
from resource_svc.handlers import HANDLERS, TOUCHES
from resource_svc.settings import Settings
from resource_svc.store import Cache, Work
from resource_svc.ticker import Ticker


async def serve(settings: Settings, stop: Stop) -> None:
    cache: Cache = {}
    parts = Parts("resource-svc", settings, lambda: Work(TOUCHES, cache), HANDLERS)
    parts.consumer(TOPICS, ROUTES)
    ticker = Ticker(parts.database, parts.pipeline, settings.presence_interval)
    await parts.run(stop, http.routes(parts.database, parts.pipeline), ticker.run)
