"""What each command touches, and which decision it asks: one dict for both doors."""

from collections.abc import Mapping

from kernel_runtime.pipeline import Handler

from resource_svc.handlers import allocations, calendars, definitions, design, opening, presence
from resource_svc.store import Touch

HANDLERS: Mapping[str, Handler] = {
    "allocate": allocations.allocate_resources,
    "release": allocations.release_resources,
    "return": allocations.take_back,
    "put_resource": definitions.put_resource,
    "delete_resource": definitions.delete_resource,
    "change_stock": definitions.change_stock_of,
    "set_presence": presence.set_presence_of,
    "end_absence": presence.end_absence,
    "look": opening.look,
    "put_calendar": calendars.put_calendar,
    "apply_design": design.apply,
}
TOUCHES: Mapping[str, Touch] = {
    "allocate": allocations.touch_allocate,
    "release": allocations.touch_release,
    "return": allocations.touch_return,
    "put_resource": definitions.touch_definition,
    "delete_resource": definitions.touch,
    "change_stock": definitions.touch,
    "set_presence": presence.touch,
    "end_absence": presence.touch,
    "look": opening.touch,
    "put_calendar": calendars.touch,
    "apply_design": design.touch,
}
