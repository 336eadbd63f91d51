"""Which message goes to which handler. What the headers say to be of no use here is dropped before its body is read."""

import re
from collections.abc import Mapping

from kernel_contracts import message_types as types
from kernel_contracts.process import DispatchRefused
from kernel_contracts.resource import ResourceChanged, ResourcesDenied, ResourcesGranted, ResourcesReleased
from kernel_contracts.scheduler import QueueChanged
from kernel_contracts.topics import DEFINITIONS, PROCESS_EVENTS, RESOURCE_EVENTS
from kernel_runtime.consumer import Route

from scheduler_svc.wire import ReadyEvent

TOPICS = (PROCESS_EVENTS, RESOURCE_EVENTS, DEFINITIONS)

_OUR_DISPATCH = re.compile(rb"[0-9]+\.[0-9]+\.[0-9]+")


def _returned(headers: Mapping[str, bytes]) -> bool:
    """NEW again (a failed attempt), not just made."""
    return headers.get("ce_aggregateversion") != b"1"


def _by_others(headers: Mapping[str, bytes]) -> bool:
    """RUNNING by a dispatch that we did not propose; of ours the grant has told."""
    return _OUR_DISPATCH.fullmatch(headers.get("ce_dispatchid", b"")) is None


ROUTES: Mapping[str, Route] = {
    types.PROCESS_CREATED: Route("left", wants=_returned),
    types.PROCESS_READY: Route("ready", ReadyEvent),
    types.PROCESS_RUNNING: Route("runs", wants=_by_others),
    types.PROCESS_WAITING: Route("left"),
    types.PROCESS_SUSPENDED: Route("left"),
    types.PROCESS_TERMINATED: Route("ended"),
    types.PROCESS_PRIORITIZED: Route("prioritized", ReadyEvent),
    types.PROCESS_ASSIGNED: Route("assigned", ReadyEvent),
    types.CONTEXT_CHANGED: Route("moved"),
    types.DISPATCH_REFUSED: Route("dispatch_refused", DispatchRefused),
    types.RESOURCES_GRANTED: Route("granted", ResourcesGranted),
    types.RESOURCES_DENIED: Route("denied", ResourcesDenied),
    types.RESOURCES_RELEASED: Route("released", ResourcesReleased),
    types.RESOURCE_CHANGED: Route("resource_changed", ResourceChanged),
    types.QUEUE_CHANGED: Route("queue_changed", QueueChanged),
}
