"""Nobody is given work outside of their hours, and whoever waits is served when they begin."""

from datetime import UTC, datetime, timedelta
from typing import Any

from kernel_testing import eventually

from .test_gateway import Face, face

__all__ = ["face"]

PREFIX = "hours"


async def test_work_waits_for_the_hours_of_its_operator(face: Face) -> None:
    begins = datetime.now(UTC) + timedelta(seconds=4)
    overtime = [{"from": begins.isoformat(), "to": (begins + timedelta(hours=1)).isoformat()}]
    await face(
        "POST",
        "/v1/design:apply",
        {
            "services": {f"{PREFIX}-judge": {"roles": [PREFIX]}},
            "calendars": {f"{PREFIX}-soon": {"time_zone": "Europe/Amsterdam", "overtime": overtime}},
            "operators": {f"{PREFIX}-anna": {"roles": [PREFIX], "calendar": f"{PREFIX}-soon"}},
        },
    )
    process = await face("POST", "/v1/processes", {"service": f"{PREFIX}-judge"}, expect=201)

    async def why() -> Any:
        told = await face("GET", f"/v1/processes/{process['pid']}/why")
        return told if told["blockers"] else None

    told = await eventually(why)
    assert "hours" in told["blockers"][0]["detail"], told
    status = await face("GET", f"/v1/resources/{PREFIX}-anna/status")
    assert (status["capacity"], status["available"]) == (0, 0)
    assert datetime.fromisoformat(status["next_change"]) == begins

    async def running() -> Any:
        now = await face("GET", f"/v1/processes/{process['pid']}")
        return now if now["state"] == "RUNNING" else None

    started = await eventually(running)
    assert started["operator"] == f"{PREFIX}-anna"
    assert datetime.fromisoformat(started["started_at"]) >= begins
    await face("POST", f"/v1/processes/{process['pid']}/complete", {})
