"""What each command does: one dict, used by both doors. Handlers decide on the loaded work and never touch the database."""

from collections.abc import Mapping

from kernel_runtime.pipeline import Handler

from rules_svc.handlers import definitions, events

HANDLERS: Mapping[str, Handler] = {
    "publish": events.publish,
    "business": events.business,
    "process": events.process,
    "resource": events.resource,
    "further": events.further,
    "define": definitions.define,
    "undefine": definitions.undefine,
    "apply": definitions.apply,
}
