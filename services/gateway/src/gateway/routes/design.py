"""The whole design as one document: checked by each service first, applied by each only where all said yes."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from kernel_contracts.base import Command
from kernel_contracts.process import ServiceDefinition
from kernel_contracts.resource import (
    ENTITY_TYPE,
    OPERATOR_TYPE,
    CalendarDefinition,
    OperatorDefinition,
    ResourceDefinition,
)
from kernel_contracts.rules import EventTypeDefinition, RuleDefinition
from kernel_contracts.scheduler import QueueDefinition
from kernel_runtime.http import check_json
from kernel_runtime.problem import Problem, ProblemError, invalid, pointer

from gateway.models.design import Design, DesignApplied
from gateway.operation import JSON, MIB, YAML, Answer, Body, Call, Operation, quoted
from gateway.reply import Reply, json_reply, problem_reply
from gateway.routes import operators, queues, resources, rules, services
from gateway.routes.queries import DRY_RUN
from gateway.yaml_text import YamlError, read_yaml

STEPS = (
    ("resource-svc", "/v1/resources", ("calendars", "resources", "operators")),
    ("process-svc", "/v1/services", ("services",)),
    ("scheduler-svc", "/v1/queues", ("queues",)),
    ("rules-svc", "/v1/rules", ("event_types", "rules")),
)
"""Who checks and applies what, in the order in which it is applied: what others refer to comes first."""

LISTS: Mapping[str, tuple[str, str, str, type[Command]]] = {
    "services": ("process-svc", "/v1/services", "name", ServiceDefinition),
    "calendars": ("resource-svc", "/v1/calendars", "id", CalendarDefinition),
    "resources": ("resource-svc", "/v1/resources", "id", ResourceDefinition),
    "operators": ("resource-svc", "/v1/operators", "id", OperatorDefinition),
    "queues": ("scheduler-svc", "/v1/queues", "name", QueueDefinition),
    "rules": ("rules-svc", "/v1/rules", "name", RuleDefinition),
    "event_types": ("rules-svc", "/v1/event-types", "type", EventTypeDefinition),
}
RESERVED = (OPERATOR_TYPE, ENTITY_TYPE)
LATER = ("tables", "timers")
RESULTS = ("created", "changed", "unchanged")


async def apply(call: Call) -> Reply:
    if call.flag("prune"):
        raise ProblemError(invalid("`prune` comes later. Remove what is not wanted one by one."))
    design = await _read(call)
    steps = [
        (service, path, content)
        for service, path, sections in STEPS
        if (content := {section: design[section] for section in sections if design.get(section)})
    ]
    checks = await asyncio.gather(
        *(_post(call, service, f"{path}:check", content, keyed=False) for service, path, content in steps)
    )
    refusal = _refusal(checks, [content for _, _, content in steps])
    if refusal is not None:
        return refusal
    if call.flag("dry_run"):
        return json_reply(_together(checks))
    done: list[Reply] = []
    for service, path, content in steps:
        reply = await _post(call, service, f"{path}:apply", content, keyed=True)
        if not reply.good:
            return _stopped(reply, service, done)
        done.append(reply)
    return json_reply(_together(done))


async def _post(call: Call, service: str, path: str, content: Any, *, keyed: bool) -> Reply:
    """The key goes with what is applied; to look first is another request, and harmless."""
    return await call.ask(service, "POST", path, orjson.dumps(content), keyed=keyed)


async def _read(call: Call) -> dict[str, Any]:
    raw = call.body
    if call.content_type in JSON or raw.lstrip()[:1] == b"{":
        try:
            value = orjson.loads(raw)
            check_json(raw)
        except orjson.JSONDecodeError as error:
            if call.content_type in JSON:
                raise ProblemError(
                    Problem(400, "Malformed JSON", f"The body is not JSON that we read: {error}")
                ) from None
            value = await _yaml(raw)
    else:
        value = await _yaml(raw)
    errors = list(_form_errors(value))
    if errors:
        raise ProblemError(invalid(errors[0][1], errors))
    assert isinstance(value, dict)
    return value


async def _yaml(raw: bytes) -> Any:
    try:
        value = await asyncio.to_thread(read_yaml, raw)
        check_json(orjson.dumps(value))
    except (YamlError, orjson.JSONEncodeError) as error:
        raise ProblemError(Problem(400, "Malformed YAML", f"The body is not YAML that we read: {error}")) from None
    return value


def _form_errors(value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, dict):
        return [("", "A design is an object with the sections " + ", ".join(LISTS) + ".")]
    errors = []
    for section, content in value.items():
        where = pointer([str(section)])
        if section in LATER:
            errors.append((where, f"{section} come later."))
        elif section not in LISTS:
            errors.append((where, f"There is no section {str(section)[:100]}; there are {', '.join(LISTS)}."))
        elif content is not None and not isinstance(content, dict):
            errors.append((where, f"{section} must be a map by name."))
        elif content is not None:
            errors.extend(
                (pointer([section, str(name)]), "A name must be text.") for name in content if not isinstance(name, str)
            )
    return errors


def _refusal(checks: list[Reply], contents: list[dict[str, Any]]) -> Reply | None:
    """All that is wrong, from all services; or the first answer that is neither a yes nor a 422."""
    errors: list[tuple[str, str]] = []
    for reply, content in zip(checks, contents, strict=True):
        if reply.good:
            continue
        if reply.status != 422:
            return reply
        errors.extend(_prefixed(reply.json(), list(content)))
    if not errors:
        return None
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return problem_reply(invalid(f"{errors[0][0]}: {errors[0][1]}{more} Nothing was applied.", errors))


def _prefixed(problem: Mapping[str, Any], sections: list[str]) -> list[tuple[str, str]]:
    """Pointers into the whole document."""
    found = [(str(error["pointer"]), str(error["message"])) for error in problem.get("errors") or ()]
    if not found:
        return [(f"/{sections[0]}", str(problem.get("detail")))]
    return [
        (
            where
            if any(where == f"/{each}" or where.startswith(f"/{each}/") for each in sections)
            else f"/{sections[0]}{where}",
            why,
        )
        for where, why in found
    ]


def _together(replies: list[Reply]) -> dict[str, list[str]]:
    told = [reply.json() for reply in replies]
    return {name: [item for each in told for item in each.get(name, ())] for name in RESULTS}


def _stopped(reply: Reply, service: str, done: list[Reply]) -> Reply:
    """A service refused after all, or went away, when others had applied their part already: say so."""
    told = reply.json() if reply.status < 500 else {}
    why = told.get("detail", reply.status)
    detail = f"{service} did not apply its part ({why}). What came before is applied: send the same again."
    problem = Problem(
        reply.status, told.get("title", "Temporarily unavailable"), detail, extra={"applied": _together(done)}
    )
    answer = problem_reply(problem)
    answer.headers += [(name, value) for name, value in reply.headers if name == b"retry-after"]
    return answer


async def whole(call: Call) -> Reply:
    found = await asyncio.gather(*(_section(call, *LISTS[section]) for section in LISTS))
    return json_reply({section: content for section, content in zip(LISTS, found, strict=True) if content})


async def _section(call: Call, service: str, path: str, key: str, model: type[Command]) -> dict[str, Any]:
    """All definitions of one kind: without what the service adds to them, and what would be so anyway."""
    fields = {info.alias or name for name, info in model.model_fields.items()}
    content: dict[str, Any] = {}
    cursor = ""
    while True:
        reply = await call.ask(service, "GET", f"{path}?limit=500{cursor}")
        if reply.status == 404:
            return content
        if not reply.good:
            raise ProblemError(
                Problem(
                    503,
                    "Temporarily unavailable",
                    f"{service} does not tell its part now.",
                    headers={"retry-after": "1"},
                )
            )
        page = reply.json()
        for item in page["items"]:
            if (key == "id" and item.get("type") in RESERVED) or item.get("version") == 0:
                continue  # operators have their own section, entities' locks make themselves; 0: nobody has defined it
            told = {name: value for name, value in item.items() if name in fields}
            definition = model.model_validate(told)
            content[item[key]] = definition.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        if not page.get("next"):
            return content
        cursor = f"&cursor={quoted(page['next'])}"


EXAMPLE = {
    "services": {"assess-application": services.DEFINITION},
    "resources": {"room-101": resources.DEFINITION},
    "operators": {"anna": operators.DEFINITION},
    "queues": {"default": queues.DEFINITION},
    "rules": {"then-decide": rules.DEFINITION},
    "event_types": {"application.submitted": rules.TYPE},
}

OPERATIONS = (
    Operation(
        "GET",
        "/v1/design",
        "The whole design",
        "Design",
        {200: Answer("As it can be applied.", Design, EXAMPLE)},
        handler=whole,
    ),
    Operation(
        "POST",
        "/v1/design:apply",
        "Apply a whole design",
        "Design",
        {
            200: Answer(
                "What was created, changed and left as it was.",
                DesignApplied,
                {"created": ["service/assess-application"], "changed": [], "unchanged": ["operator/anna"]},
            )
        },
        handler=apply,
        body=Body(Design, {"permit office": EXAMPLE}, media=(*YAML, *JSON), limit=4 * MIB),
        query=(DRY_RUN,),
        description="As YAML or JSON. All services check their part first; where one finds a fault, nothing is applied.",
    ),
)
