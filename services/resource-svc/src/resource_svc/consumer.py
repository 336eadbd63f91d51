"""What resource-svc reads from Kafka: message type -> handler."""

from collections.abc import Mapping

from kernel_contracts import message_types as types
from kernel_contracts.resource import AllocateResources, ReleaseResources
from kernel_contracts.topics import BY_NAME, PROCESS_EVENTS, RESOURCE_COMMANDS
from kernel_runtime.consumer import Route


def gives_back(headers: Mapping[str, bytes]) -> bool:
    return "ce_give" in headers


TOPICS = (RESOURCE_COMMANDS, PROCESS_EVENTS)
RETURN = Route("return", wants=gives_back)
"""Whatever its type: a process says by headers alone that it gives units back, and the body is not read."""

ROUTES: Mapping[str, Route] = {
    **dict.fromkeys(BY_NAME[PROCESS_EVENTS].messages, RETURN),
    types.ALLOCATE_RESOURCES: Route("allocate", AllocateResources),
    types.RELEASE_RESOURCES: Route("release", ReleaseResources, remember=True),
}
