"""Which message goes to which handler. What the headers say to be of no use here is dropped before its body is read."""

import re
from collections.abc import Mapping

from kernel_contracts import message_types as types
from kernel_contracts.process import DispatchRefused
from kernel_contracts.scheduler import QueueChanged
from kernel_contracts.topics import DEFINITIONS, PROCESS_EVENTS, RESOURCE_EVENTS
from kernel_runtime.consumer import Route

from scheduler_svc import wire

TOPICS = (PROCESS_EVENTS, RESOURCE_EVENTS, DEFINITIONS)

_OUR_DISPATCH = re.compile(rb"[0-9]+\.[0-9]+\.[0-9]+")


def _returned(headers: Mapping[str, bytes]) -> bool:
    """NEW again (a failed attempt), not just made."""
    return headers.get("ce_aggregateversion") != b"1"


def _by_others(headers: Mapping[str, bytes]) -> bool:
    """RUNNING by a dispatch that we did not propose; of ours the grant has told."""
    return _OUR_DISPATCH.fullmatch(headers.get("ce_dispatchid", b"")) is None


ROUTES: Mapping[str, Route] = {
    types.PROCESS_CREATED: Route("left", parse=wire.read_position, wants=_returned),
    types.PROCESS_READY: Route("ready", parse=wire.read_ready),
    types.PROCESS_RUNNING: Route("runs", parse=wire.read_position, wants=_by_others),
    types.PROCESS_WAITING: Route("left", parse=wire.read_position),
    types.PROCESS_SUSPENDED: Route("left", parse=wire.read_position),
    types.PROCESS_TERMINATED: Route("ended", parse=wire.read_position),
    types.PROCESS_PRIORITIZED: Route("prioritized", parse=wire.read_ready),
    types.PROCESS_ASSIGNED: Route("assigned", parse=wire.read_ready),
    types.CONTEXT_CHANGED: Route("moved", parse=wire.read_position),
    types.DISPATCH_REFUSED: Route("dispatch_refused", DispatchRefused),
    types.RESOURCES_GRANTED: Route("granted", wire.Granted),
    types.RESOURCES_DENIED: Route("denied", wire.Denied),
    types.RESOURCES_RELEASED: Route("released", wire.Released),
    types.RESOURCE_CHANGED: Route("resource_changed", wire.Changed),
    types.QUEUE_CHANGED: Route("queue_changed", QueueChanged),
}
