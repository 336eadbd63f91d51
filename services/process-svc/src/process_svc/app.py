"""process-svc, wired."""

from functools import partial

from kernel_runtime.lease import while_held
from kernel_runtime.service import Parts
from kernel_runtime.supervise import Stop

from process_svc import http
from process_svc.consumer import ROUTES, TOPICS
from process_svc.desk import Desk
from process_svc.handlers import HANDLERS
from process_svc.handlers.work import Work
from process_svc.keeper import Keeper
from process_svc.memory import Memory
from process_svc.runner import Runner
from process_svc.settings import Settings
from process_svc.signing import signer
from process_svc.ticker import FollowUps, Ticker


def wired(settings: Settings) -> tuple[Parts, Ticker, Runner, Desk]:
    """All parts of one replica; nothing runs yet."""
    follow_ups = FollowUps()
    memory = Memory(follow_ups)
    parts = Parts("process-svc", settings, partial(Work, memory), HANDLERS)
    ticker = Ticker(parts.database, parts.pipeline)
    runner, desk = Runner(parts.database, parts.pipeline), Desk(parts.database)
    follow_ups.pipeline, memory.due, memory.go_on = parts.pipeline, ticker.wake, runner.wake
    memory.takers = desk
    parts.consumer(TOPICS, ROUTES)
    return parts, ticker, runner, desk


async def serve(settings: Settings, stop: Stop) -> None:
    """Until `stop`."""
    parts, ticker, runner, desk = wired(settings)
    lease, ledger, jobs = parts.lease("ticker"), parts.lease("ledger"), parts.lease("jobs")
    keeper = Keeper(parts.database, ledger, signer(settings), settings)
    routes = http.routes(parts.database, parts.pipeline, desk, settings)
    await parts.run(
        stop,
        routes,
        desk.run,
        lease.keep,
        partial(while_held, lease, ticker.run),
        ledger.keep,
        partial(while_held, ledger, keeper.run),
        jobs.keep,
        partial(while_held, jobs, runner.run),
    )
