"""Which column of a CSV says what: by the names that are usual, or as the caller says."""

import re
from collections.abc import Mapping, Sequence

from kernel_client.eventlog.model import LogError

USUAL: Mapping[str, tuple[str, ...]] = {
    "case": (
        "case:concept:name",
        "case",
        "caseid",
        "casename",
        "trace",
        "traceid",
        "traceconcept:name",
        "order",
        "orderid",
    ),
    "activity": ("concept:name", "activity", "activityname", "activityid", "task", "taskname", "event", "eventname"),
    "resource": (
        "org:resource",
        "resource",
        "operator",
        "worker",
        "user",
        "employee",
        "performer",
        "resourceid",
        "userid",
    ),
    "start": (
        "start",
        "starttimestamp",
        "starttime",
        "startdate",
        "time:start",
        "begin",
        "begintime",
        "started",
        "startedat",
    ),
    "end": (
        *("end", "completetimestamp", "endtimestamp", "endtime", "enddate", "completetime", "completiontime", "finish"),
        *(
            "time:timestamp",
            "timestamp",
            "time:complete",
            "complete",
            "completed",
            "ended",
            "endedat",
            "time",
            "datetime",
            "date",
        ),
    ),
    "transition": ("lifecycle:transition", "lifecycle", "transition", "eventtype", "status"),
    "instance": ("concept:instance", "instance", "activityinstance"),
}
"""The earlier in the list, the better; compared without case, blanks, `_`, `-` and `.`."""

NAMES = tuple(USUAL)


def plain(name: str) -> str:
    return re.sub(r"[\s_.\-]+", "", name.strip().lower())


def find(header: Sequence[str], wanted: Mapping[str, str]) -> dict[str, int]:
    """Role -> index. `wanted` names columns as they are in the header; raises LogError where what is needed is missing."""
    found: dict[str, int] = {}
    for role, name in wanted.items():
        if role not in USUAL:
            raise LogError(f"--columns knows {', '.join(NAMES)}, not {role!r}")
        if name not in header:
            raise LogError(f"there is no column {name!r}; there are {', '.join(header)}")
        found[role] = header.index(name)
    index: dict[str, int] = {}
    for position, title in enumerate(header):
        index.setdefault(plain(title), position)
    for role, usual in USUAL.items():
        if role not in found:
            place = next((index[each] for each in usual if each in index and index[each] not in found.values()), None)
            if place is not None:
                found[role] = place
    if "end" not in found and "start" in found:
        found["end"] = found.pop("start")
    missing = [role for role in ("case", "activity", "end") if role not in found]
    if missing:
        said = " and ".join(f"the {role}" for role in missing)
        raise LogError(
            f"no column for {said} in {', '.join(header)}; say --columns {','.join(f'{role}=...' for role in missing)}"
        )
    return found


def parse(text: str | None) -> dict[str, str]:
    """`case=Case ID,activity=Step` of the command line; raises LogError."""
    wanted: dict[str, str] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        role, equals, name = part.partition("=")
        if not equals or not name.strip():
            raise LogError(f"--columns takes case=..,activity=..,resource=..,start=..,end=.., not {part!r}")
        wanted[role.strip()] = name.strip()
    return wanted
