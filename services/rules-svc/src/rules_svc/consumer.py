"""The Kafka door: which message becomes which command, and which is dropped by its headers.

process-events come at thousands a second and most matter to no rule: for those, a look at a few headers is all.
"""

from collections.abc import Mapping

from kernel_contracts import message_types as types
from kernel_contracts.envelope import Envelope, Headers
from kernel_contracts.topics import BUSINESS_EVENTS, BY_NAME, PROCESS_EVENTS, RESOURCE_EVENTS
from kernel_runtime.consumer import Route

from rules_svc import cloudevents, wire
from rules_svc.book import Memory

TOPICS = (PROCESS_EVENTS, RESOURCE_EVENTS, BUSINESS_EVENTS)

_ENDINGS = frozenset(kind.encode() for kind in (types.PROCESS_CREATED, types.COMMAND_REFUSED))
"""They tell what became of a command, some of which are ours."""
_WAITING = types.PROCESS_WAITING.encode()


class Door:
    """Looks at headers with what this replica has in memory."""

    def __init__(self, memory: Memory, default_tenant: str) -> None:
        self._memory = memory
        self._tenant = default_tenant

    def routes(self) -> dict[str, Route]:
        process = Route("process", wants=self.wants_process, parse=self.read_process, topic=PROCESS_EVENTS)
        resource = Route("resource", wants=self.wants, parse=_read_resource, topic=RESOURCE_EVENTS)
        return {
            **dict.fromkeys(BY_NAME[PROCESS_EVENTS].messages, process),
            **dict.fromkeys(BY_NAME[RESOURCE_EVENTS].messages, resource),
        }

    def other(self) -> Route:
        """Every other type is a business event, of whatever system."""
        return Route("business", parse=cloudevents.from_kafka, topic=BUSINESS_EVENTS)

    def wants(self, headers: Mapping[str, bytes]) -> bool:
        tenant = headers.get("ce_tenant")
        return self._memory.wants(
            self._tenant if tenant is None else tenant.decode("utf-8", "replace"),
            headers["ce_type"].decode("utf-8", "replace"),
        )

    def wants_process(self, headers: Mapping[str, bytes]) -> bool:
        kind = headers["ce_type"]
        if kind == _WAITING:
            pid = headers.get("ce_id", b"").partition(b".")[0]
            if pid.isdigit():
                self._memory.arriving.add(int(pid))
            return True
        if kind in _ENDINGS and wire.is_ours(headers.get("ce_causationid")):
            return True
        return self._may_wait(headers.get("ce_id", b"").decode("utf-8", "replace")) or self.wants(headers)

    def _may_wait(self, id: str) -> bool:
        memory = self._memory
        if memory.loaded and not memory.waiting and not memory.arriving:
            return False
        pid = id.partition(".")[0]
        return not (pid.isascii() and pid.isdigit()) or memory.may_wait(int(pid))

    def read_process(self, envelope: Envelope, _: Headers, raw: bytes) -> wire.ProcessNews:
        kind = envelope.type
        needed = kind in (types.PROCESS_WAITING, types.COMMAND_REFUSED) or self._may_wait(envelope.id)
        return wire.process_news(envelope, raw, wanted=self._memory.wants(envelope.tenant, kind), body_needed=needed)


def _read_resource(envelope: Envelope, _: Headers, raw: bytes) -> object:
    return wire.resource_event(envelope, raw)
