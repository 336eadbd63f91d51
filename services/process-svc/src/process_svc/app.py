"""process-svc, wired."""

from functools import partial

from kernel_runtime.lease import while_held
from kernel_runtime.service import Parts
from kernel_runtime.supervise import Stop

from process_svc import http
from process_svc.consumer import ROUTES, TOPICS
from process_svc.handlers import HANDLERS
from process_svc.handlers.work import Work
from process_svc.keeper import Keeper
from process_svc.memory import Memory
from process_svc.settings import Settings
from process_svc.signing import signer
from process_svc.ticker import FollowUps, Ticker


def wired(settings: Settings) -> tuple[Parts, Ticker]:
    """All parts of one replica; nothing runs yet."""
    follow_ups = FollowUps()
    memory = Memory(follow_ups)
    parts = Parts("process-svc", settings, partial(Work, memory), HANDLERS)
    ticker = Ticker(parts.database, parts.pipeline)
    follow_ups.pipeline, memory.due = parts.pipeline, ticker.wake
    parts.consumer(TOPICS, ROUTES)
    return parts, ticker


async def serve(settings: Settings, stop: Stop) -> None:
    """Until `stop`."""
    parts, ticker = wired(settings)
    lease, ledger = parts.lease("ticker"), parts.lease("ledger")
    keeper = Keeper(parts.database, ledger, signer(settings), settings)
    routes = http.routes(parts.database, parts.pipeline, settings)
    forever = (lease.keep, partial(while_held, lease, ticker.run), ledger.keep, partial(while_held, ledger, keeper.run))
    await parts.run(stop, routes, *forever)
