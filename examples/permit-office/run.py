"""A morning at the permit office: applications come in, people work, the kernel decides who does what when.

The script only plays the world outside the kernel: applicants who send in, answer and object, and people who do what they are
given. What comes next and who does it is decided by the rules of design.yaml and by the scheduler. The same seed, the same cases.
"""

import asyncio
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kernel_client import summary
from kernel_client.scene import Scene, Watch
from kernel_client.types import Process

HOUR = 1.0
"""Real seconds in which an hour of the office passes."""
ARRIVALS_PER_HOUR = 3.6
ENTITY = "permit-dossier"
MINUTES = {
    "register-application": 20,
    "request-documents": 10,
    "assess-application": 30,
    "technical-advice": 60,
    "environmental-advice": 45,
    "decide": 15,
    "publish-decision": 15,
    "hear-objection": 30,
}
PLANS = ("an extension", "a dormer", "a barn", "a shop front", "forty houses", "a solar field", "a tree to fell")


@dataclass(slots=True)
class Dossier:
    """One application, and what its people will do."""

    id: str
    arrives: float
    subject: str
    category: str
    complete: bool
    advice_needed: bool
    granted: bool
    objection: bool
    upheld: bool
    decided: int = 0


def dossiers(run: str, count: int, chance: random.Random) -> list[Dossier]:
    """What will come in, in order of arrival (in hours)."""
    made, at = [], 0.0
    for number in range(1, count + 1):
        at += chance.expovariate(ARRIVALS_PER_HOUR)
        category = chance.choices(("small", "regular", "complex"), (3, 5, 2))[0]
        made.append(
            Dossier(
                id=f"{run}-{number:04}",
                arrives=at,
                subject=chance.choice(PLANS),
                category=category,
                complete=chance.random() > 0.2,
                advice_needed=category != "small",
                granted=chance.random() > 0.15,
                objection=chance.random() < 0.12,
                upheld=chance.random() < 0.5,
            )
        )
    return made


class Office(Watch):
    """The world outside."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._chance = random.Random(scene.seed)
        self._dossiers = {each.id: each for each in dossiers(scene.run, scene.cases, random.Random(scene.seed))}

    async def applicants(self) -> None:
        """Each application at its time; the portal's own number is the key, so that sending it twice makes one process."""
        loop = asyncio.get_running_loop()
        opened = loop.time()
        for dossier in self._dossiers.values():
            await asyncio.sleep(opened + dossier.arrives * HOUR - loop.time())
            await self._scene.kernel.processes.create(
                "register-application",
                entity={"type": ENTITY, "id": dossier.id},
                context={"applicant": f"applicant of {dossier.id}", "plan": dossier.subject},
                key=f"portal-{dossier.id}",
            )

    def work(self, process: Process) -> tuple[float, dict[str, Any]]:
        """How long it takes a person, and the form as it is filled in."""
        minutes = MINUTES.get(process["service"], 10) * self._chance.uniform(0.6, 1.4)
        entity = process["entity"]
        dossier = self._dossiers.get(entity["id"]) if entity else None
        return minutes / 60 * HOUR, filled_in(process["service"], dossier)

    async def ended(self, process: Process) -> bool:
        """What applicants do when they hear of it."""
        entity = process["entity"]
        dossier = self._dossiers.get(entity["id"]) if entity else None
        if dossier is None:
            return False
        service = process["service"]
        if service == "request-documents":
            await self._send("permit.documents-received", dossier, {"documents": 2})
        elif service == "publish-decision":
            dossier.decided += 1
            if dossier.objection and dossier.decided == 1:
                await self._send("permit.objection-received", dossier, {"objector": f"neighbour of {dossier.id}"})
            else:
                self._scene.case_done()
        elif service == "hear-objection" and not dossier.upheld:
            self._scene.case_done()
        return True

    async def _send(self, kind: str, dossier: Dossier, data: dict[str, Any]) -> None:
        await self._scene.kernel.publish(
            {"id": f"{kind}-{dossier.id}", "source": "/portal", "type": kind, "subject": dossier.id, "data": data}
        )


def filled_in(service: str, dossier: Dossier | None) -> dict[str, Any]:
    """An output that fits the form. Of earlier plays' dossiers nothing is known: they are brought to a plain end."""
    if service == "register-application":
        return {"complete": dossier.complete if dossier else True, "category": dossier.category if dossier else "small"}
    if service == "request-documents":
        return {"missing": ["floor plan", "signature"]}
    if service == "assess-application":
        return {"advice_needed": dossier.advice_needed if dossier else False, "grounds": "zoning plan, art. 12"}
    if service in ("technical-advice", "environmental-advice"):
        return {"advice": "positive" if dossier is None or dossier.granted else "negative"}
    if service == "decide":
        return {"granted": dossier.granted if dossier else True, "reasons": "as advised"}
    if service == "publish-decision":
        return {"published_on": (datetime.now(UTC).date() + timedelta(days=1)).isoformat()}
    if service == "hear-objection":
        return {"upheld": dossier.upheld if dossier else False}
    return {}


async def play(scene: Scene) -> None:
    """Applies the design, plays the morning, tells how it went."""
    design = await scene.apply()
    office = Office(scene)
    people = {id: each for id, each in design["operators"].items() if set(each.get("roles", ())) & ROLES}
    scene.out.print(f"kernel: {scene.cases} applications arrive, {len(people)} people work; an hour takes {HOUR:g} s")
    async with scene.at_work(people, office.work, office, ENTITY) as blockers:
        await office.applicants()
        await scene.until_all_done()
    summary.show(scene, blockers, people, hour=HOUR)


ROLES = {"registration", "legal", "technical", "environment", "manager"}
