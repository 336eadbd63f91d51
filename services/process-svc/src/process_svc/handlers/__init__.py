"""What each command touches and which decision it asks: one dict, used by both doors."""

from collections.abc import Mapping

from kernel_runtime.pipeline import Handler

from process_svc.handlers import automatic, commands, create, holds, incidents, internal, jobs, services

HANDLERS: Mapping[str, Handler] = {
    "create": create.create,
    "create_batch": create.create_batch,
    "commands_batch": commands.batch,
    **{name.value: commands.handle for name in commands.NAMED},
    "heartbeat": automatic.heartbeat,
    "lapse": automatic.lapse,
    "dispatch": internal.dispatch,
    "tick": internal.tick,
    "follow_up": internal.follow_up,
    "resolve_incident": incidents.resolve,
    "assign_incident": incidents.assign,
    "hold": holds.hold,
    "release_hold": holds.release,
    "define_services": services.define,
    "change_service": services.change,
    "job_create": jobs.create,
    "job_control": jobs.control,
    "job_item": jobs.item,
    "job_settle": jobs.settle,
}
