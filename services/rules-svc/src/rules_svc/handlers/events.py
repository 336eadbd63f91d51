"""Events from every door: what follows from them, who waited for them, and what became of what rules sent."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import orjson
from kernel_contracts import message_types as types
from kernel_contracts.base import Duration
from kernel_contracts.rules import MAX_TTL, EventTypeDefinition
from kernel_contracts.vocabulary import Meets
from kernel_runtime.command import Answer, Command, Result, json_answer
from kernel_runtime.problem import Problem, invalid
from pydantic import Field, TypeAdapter, ValidationError

from rules_svc import cloudevents, wire
from rules_svc.definitions import EventType
from rules_svc.domain.model import RuleError
from rules_svc.domain.waits import Wait, begun, moved
from rules_svc.received import Received
from rules_svc.work import Further, RuleWork, Terms

DONE = Answer()
TTL: Final = EventTypeDefinition().ttl
"""Of an event whose type nobody has defined."""
_DURATION: Final[TypeAdapter[timedelta]] = TypeAdapter(Annotated[Duration, Field(le=MAX_TTL)])
_MOVED_ON = (404, 409, 412)
"""A wake was refused because the process does not wait any more; any other refusal is about what the event brought."""


def _terms(work: RuleWork, received: Received, now: datetime) -> Terms | Problem:
    """What waiting processes are matched by and how long it is kept, or why the event does not fit its type."""
    event_type = work.book.event_type(received.event.tenant, received.event.type)
    if event_type is not None and event_type.check is not None:
        errors = [("/data" + pointer, message) for pointer, message in event_type.check(received.view.get("data"))]
        if errors:
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            return invalid(
                f"It does not fit its type {received.event.type}: {errors[0][0]}: {errors[0][1]}{more}", errors
            )
    ttl, meets = (TTL, Meets.ALL) if event_type is None else (event_type.ttl, event_type.meets)
    if (own := received.view.get("ttl")) is not None:
        try:
            ttl = _DURATION.validate_python(own)
        except ValidationError:
            message = f"must be an ISO 8601 duration of at most {MAX_TTL.days} days, such as PT1H"
            return invalid(f"ttl {message}, got {str(own)[:60]!r}.", [("/ttl", message)])
    key = _key(event_type, received, now)
    return key if isinstance(key, Problem) else Terms(key, ttl, meets)


def _key(event_type: EventType | None, received: Received, now: datetime) -> str | Problem | None:
    if event_type is None or event_type.key is None:
        subject = received.view["subject"]
        return None if subject is None else str(subject)
    try:
        key = event_type.key.value(received.facts(now).bind({}))
    except RuleError as error:
        return invalid(f"The key of its type {received.event.type} can't be computed: {error}", [("", str(error))])
    if key is None or (isinstance(key, (str, int)) and not isinstance(key, bool) and len(str(key)) <= 1024):
        return None if key is None else str(key)
    return invalid(f"The key of its type {received.event.type} must be text or a whole number, got {str(key)[:60]}.")


def publish(work: RuleWork, command: Command, now: datetime) -> Result:
    """Events over HTTP: all of them, or none where one does not fit its type."""
    fresh: dict[bytes, tuple[Received, Terms]] = {}
    errors: list[tuple[str, str]] = []
    events: Sequence[Received] = command.body
    for index, received in enumerate(events):
        if received.key in work.seen or received.key in fresh:
            continue
        terms = _terms(work, received, now)
        if isinstance(terms, Problem):
            within = f"/{index}" if len(events) > 1 else ""
            errors += [(within + pointer, message) for pointer, message in terms.errors] or [(within, terms.detail)]
        else:
            fresh[received.key] = (received, terms)
    if errors:
        return invalid(f"{errors[0][0] or 'event'}: {errors[0][1]}", errors)
    for received, terms in fresh.values():
        work.take(received, terms, now, kept=True)
    first = {id(received) for received, _ in fresh.values()}
    items = [_taken(work, received, duplicate=id(received) not in first) for received in events]
    return json_answer(items[0] if len(items) == 1 else {"accepted": len(items), "items": items}, 202)


def _taken(work: RuleWork, received: Received, *, duplicate: bool) -> Mapping[str, Any]:
    fired, refused = work.seen[received.key]
    item: dict[str, Any] = {
        "id": received.event.id,
        "source": received.event.source,
        "type": received.event.type,
        "duplicate": duplicate,
        "fired": fired,
    }
    if refused is not None:
        item["refused"] = orjson.loads(refused)
    return item


def business(work: RuleWork, command: Command, now: datetime) -> Result:
    """An event on `business-events`; what does not fit its type is kept as refused."""
    received: Received = command.body
    if received.key in work.seen:
        return DONE
    if received.event.type.startswith(types.PREFIX):
        return invalid(cloudevents.RESERVED_TYPE, [("/type", cloudevents.RESERVED_TYPE)])
    terms = _terms(work, received, now)
    if isinstance(terms, Problem):
        return terms
    work.take(received, terms, now, kept=True)
    return DONE


def resource(work: RuleWork, command: Command, now: datetime) -> Result:
    """An event of resource-svc that a rule or a wait is for."""
    _own_event(work, command.body, now)
    return DONE


def process(work: RuleWork, command: Command, now: datetime) -> Result:
    """An event of process-svc: who waits, what became of our commands, and what rules say."""
    news: wire.ProcessNews = command.body
    if wire.is_ours(news.causation):
        _note_outcome(work, news, now)
    if news.pid is not None and news.body is not None:
        _follow_wait(work, news, news.pid, news.body, now)
    if news.received is not None:
        _own_event(work, news.received, now)
    return DONE


def _own_event(work: RuleWork, received: Received, now: datetime) -> None:
    if received.key not in work.seen:
        subject = received.view["subject"]
        work.take(received, Terms(None if subject is None else str(subject)), now, kept=False)


def _note_outcome(work: RuleWork, news: wire.ProcessNews, now: datetime) -> None:
    assert news.causation is not None
    if news.type == types.PROCESS_CREATED:
        work.outcome(news.causation, news.pid, None, now)
    elif news.type == types.COMMAND_REFUSED and news.body is not None:
        detail = str(news.body.get("detail", ""))[:1000].replace("\x00", "")
        work.outcome(news.causation, news.pid, detail, now)
        wait = None if news.pid is None else work.meetings.waits.get(news.pid)
        if wait is not None and wait.wake is not None and wire.wake_id(wait) == news.causation:
            over = news.body.get("status") in _MOVED_ON
            if over:
                work.meetings.end(wait.pid, taken=False)
            else:
                work.meetings.put(replace(wait, wake=None), now, begins=False)


def _follow_wait(work: RuleWork, news: wire.ProcessNews, pid: int, body: Mapping[str, Any], now: datetime) -> None:
    before, state = work.meetings.waits.get(pid), body.get("state")
    if news.type == types.PROCESS_WAITING:
        if (target := wire.awaited(news)) is not None:
            new = Wait(pid, news.version, news.tenant, *target, _since(body, now))
            after = begun(before, new)
            if after is not before:
                work.meetings.put(after, now, begins=True)
            return
        state = None if before is None or news.version <= before.version else "WAITING for something else"
    if before is None or not isinstance(state, str):
        return
    met = bool((body.get("waiting_for") or {}).get("met"))
    moved_to = moved(before, news.version, state, met=met)
    if moved_to is None:
        work.meetings.end(pid, taken=_took(before, news))
    elif moved_to is not before:
        work.meetings.put(moved_to, now, begins=False)


def _since(body: Mapping[str, Any], now: datetime) -> datetime:
    try:
        at = datetime.fromisoformat(str(body.get("at")))
    except ValueError:
        return now
    return at if at.tzinfo is not None else now


def _took(wait: Wait, news: wire.ProcessNews) -> bool:
    """Whether it moved on by what it was woken with: that was sent for the version before."""
    return wait.wake is not None and wire.wake_id(replace(wait, version=news.version - 1)) == news.causation


def further(work: RuleWork, command: Command, now: datetime) -> Result:
    """A call goes on with those that it has not reached yet."""
    body: Further = command.body
    work.meetings.go_on(body.id)
    return DONE
