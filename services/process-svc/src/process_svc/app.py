"""process-svc, wired."""

from functools import partial

from kernel_runtime.lease import while_held
from kernel_runtime.service import Parts
from kernel_runtime.supervise import Stop

from process_svc import http
from process_svc.catalog import Catalog
from process_svc.consumer import ROUTES, TOPICS
from process_svc.handlers import HANDLERS
from process_svc.handlers.work import Work
from process_svc.settings import Settings
from process_svc.ticker import FollowUps, Ticker


def wired(settings: Settings) -> tuple[Parts, Ticker]:
    """All parts of one replica; nothing runs yet."""
    catalog, follow_ups = Catalog(), FollowUps()
    parts = Parts("process-svc", settings, partial(Work, catalog, follow_ups), HANDLERS)
    follow_ups.pipeline = parts.pipeline
    parts.consumer(TOPICS, ROUTES)
    return parts, Ticker(parts.database, parts.pipeline, settings.ticker_interval)


async def serve(settings: Settings, stop: Stop) -> None:
    """Until `stop`."""
    parts, ticker = wired(settings)
    lease = parts.lease("ticker")
    await parts.run(
        stop, http.routes(parts.database, parts.pipeline), lease.keep, partial(while_held, lease, ticker.run)
    )
