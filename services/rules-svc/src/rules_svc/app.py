"""rules-svc, wired."""

from kernel_runtime import logs
from kernel_runtime.service import Parts
from kernel_runtime.supervise import Stop

from rules_svc import http
from rules_svc.book import Memory
from rules_svc.consumer import TOPICS, Door
from rules_svc.failures import FailureLimit
from rules_svc.handlers import HANDLERS
from rules_svc.settings import Settings
from rules_svc.ticker import Ticker
from rules_svc.work import RuleWork

NAME = "rules-svc"


async def serve(stop: Stop, settings: Settings) -> None:
    """Runs until `stop`."""
    logs.configure(NAME, settings.service_replica, settings.log_level)
    memory, limit = Memory(), FailureLimit()
    parts = Parts(NAME, settings, lambda: RuleWork(memory, limit), HANDLERS)
    door = Door(memory, settings.default_tenant)
    parts.consumer(TOPICS, door.routes(), other=door.other())
    ticker = Ticker(parts.database, memory, settings, parts.pipeline)
    await parts.run(stop, http.routes(parts.pipeline, parts.database, memory), ticker.run)
