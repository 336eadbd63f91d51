"""GET /v1/export: the journal as an event log."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from kernel_runtime.database import Database
from kernel_runtime.http import caller
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from process_svc.domain.eventlog import TRANSITIONS
from process_svc.export import csv_text, ocel, xes
from process_svc.export.csv_text import CsvText
from process_svc.export.ocel import Ocel
from process_svc.export.stream import export
from process_svc.export.xes import Xes
from process_svc.http import query
from process_svc.store.exports import CASE_KINDS, Scope

_FORMATS: Mapping[str, tuple[Callable[[], CsvText | Xes | Ocel], str, str]] = {
    "csv": (CsvText, csv_text.MEDIA, "events.csv"),
    "xes": (Xes, xes.MEDIA, "events.xes"),
    "ocel": (Ocel, ocel.MEDIA, "events.jsonocel"),
}
_KNOWN = ("format", "service", "from", "to", "case", "lifecycle")


def routes(database: Database) -> list[BaseRoute]:
    async def exported(request: Request) -> Response:
        given = request.query_params
        for name, value in given.multi_items():
            if name not in _KNOWN:
                raise query.wrong(name, f"is not known; there are {', '.join(_KNOWN)}")
            if "\x00" in value:
                raise query.wrong(name, "the character U+0000 can't be searched for")
        form, kind = given.get("format", "csv"), given.get("case", "process")
        if form not in _FORMATS:
            raise query.wrong("format", f"must be one of {', '.join(_FORMATS)}")
        if kind not in CASE_KINDS:
            raise query.wrong("case", f"must be one of {', '.join(CASE_KINDS)}")
        if form == "ocel" and "case" in given:
            raise query.wrong("case", "OCEL has objects instead of cases: leave it out")
        since = query.time("from", given["from"]) if "from" in given else None
        now = datetime.now(UTC)
        until = query.time("to", given["to"]) if "to" in given else now
        transitions = frozenset(filter(None, given.get("lifecycle", "").split(",")))
        if not transitions.issubset(TRANSITIONS):
            raise query.wrong("lifecycle", f"must be of {', '.join(TRANSITIONS)}")
        scope = Scope(caller(request).tenant, given.get("service"), since, min(until, now))
        make, media, file = _FORMATS[form]
        return StreamingResponse(
            export(database, scope, kind, make(), transitions),
            media_type=media,
            headers={"content-disposition": f'attachment; filename="{file}"'},
        )

    return [Route("/v1/export", exported, methods=["GET"])]
