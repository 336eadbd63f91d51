"""Whether the invariants hold on the running installation: what each service says of itself, and what only shows across them.

`run(home)` -> `{"ok": bool, "checks": [{"name", "breaches", "examples"}]}`. Work in flight is no breach: what is found is looked
for again until it has gone or `wait` seconds have passed, and only what was there each time, unmoved, is told. `fsck_facts` reads
the databases, `fsck_checks` compares them, `fsck_bus` compares the journal with Kafka.
"""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg
from confluent_kafka import KafkaException

from kernel_platform import control, fsck_bus, fsck_checks, fsck_facts, fsck_waits
from kernel_platform.home import Home

AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, KafkaException)
"""What reading raises while a database or the broker is on its way back."""

Breaches = Mapping[str, frozenset[str]]
"""By the name of the check: what breaks it. A breach is named so that it has another name once anything about it has moved."""

EXAMPLES = 5
PAUSE = 0.5
TIMEOUT = 120
OWN = ("process-svc", "resource-svc", "scheduler-svc", "rules-svc")


def run(home: Home | None = None, *, wait: float = 10) -> dict[str, Any]:
    """Raises UpError where nothing runs."""
    home = home or Home.default()
    state = control.status(home=home)
    if not state["services"]:
        raise control.UpError("nothing runs here: `kernel up` starts it")
    return asyncio.run(check(state, home.secret("internal-token"), wait))


async def check(state: Mapping[str, Any], token: str, wait: float) -> dict[str, Any]:
    """`state` as `kernel status --json` has it."""
    own, across, bus = await asyncio.gather(
        _own(state["services"], token, wait),
        settled(lambda: _across(state["postgres"]), wait),
        settled(lambda: fsck_bus.check(state["postgres"]["process-svc"], state["kafka"]), wait),
    )
    checks = [*own, *(told(name, found) for name, found in {**across, **bus}.items())]
    return {"ok": not any(each["breaches"] for each in checks), "checks": checks}


def told(name: str, found: frozenset[str]) -> dict[str, Any]:
    return {"name": name, "breaches": len(found), "examples": sorted(found)[:EXAMPLES]}


async def settled(look: Callable[[], Awaitable[Breaches]], wait: float) -> Breaches:
    """What was found at every look of `wait` seconds; one look where that finds nothing."""
    until = time.monotonic() + wait
    found: Breaches | None = None
    while True:
        try:
            again = await look()
        except AWAY as error:
            if time.monotonic() >= until:
                raise control.UpError(f"it can't be checked: {str(error) or type(error).__name__}") from None
        else:
            found = again if found is None else {name: found[name] & breaches for name, breaches in again.items()}
            if not any(found.values()) or time.monotonic() >= until:
                return found
        await asyncio.sleep(PAUSE)


async def _across(dsns: Mapping[str, str]) -> Breaches:
    facts = await fsck_facts.read(dsns["process-svc"], dsns["resource-svc"], dsns["scheduler-svc"])
    waits = await fsck_waits.check(dsns["process-svc"], dsns["rules-svc"])
    return {**fsck_checks.check(facts), fsck_waits.NAME: waits, OUTBOX: await fsck_facts.outboxes(dsns)}


OUTBOX = "every outbox is drained"


async def _own(services: list[Mapping[str, Any]], token: str, wait: float) -> list[dict[str, Any]]:
    """What the services say of their own tables; asked again where they name breaches."""
    return [
        each for found in await asyncio.gather(*(_ask(name, services, token, wait) for name in OWN)) for each in found
    ]


async def _ask(name: str, services: list[Mapping[str, Any]], token: str, wait: float) -> list[dict[str, Any]]:
    urls = [service["url"] for service in services if service["name"] == name]
    until = time.monotonic() + wait
    while True:
        found = await asyncio.to_thread(_said, name, urls, token)
        if not any(each["breaches"] for each in found) or time.monotonic() >= until:
            return found
        await asyncio.sleep(PAUSE)


def _said(name: str, urls: list[str], token: str) -> list[dict[str, Any]]:
    """The first replica that answers speaks for its service: they share their tables."""
    reason = "it has no replica"
    for url in urls:
        request = urllib.request.Request(f"{url}/v1/fsck", headers={"x-kernel-token": token})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                checks = json.load(answer)["checks"]
        except (OSError, ValueError) as error:
            reason = str(error)
            continue
        return [{**each, "name": _name(name, each["name"])} for each in checks]
    return [told(f"{name}: answers", frozenset({reason}))]


def _name(service: str, check: str) -> str:
    """With its service before it, in words."""
    plain = check.removeprefix(f"{service.removesuffix('-svc')}: ").replace("_", " ")
    return f"{service}: {plain}"
