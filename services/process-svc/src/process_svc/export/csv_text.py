"""CSV with the column names that pm4py and others take without being told."""

import csv
import io
from collections.abc import Sequence
from typing import Final

from process_svc.domain.eventlog import Event

MEDIA: Final = "text/csv; charset=utf-8"
_OWN: Final = (
    "version",
    "command",
    "state",
    "outcome",
    "service_version",
    "entity_type",
    "entity_id",
    "parent",
    "by",
    "reason",
)
COLUMNS: Final = (
    "case:concept:name",
    "concept:name",
    "time:timestamp",
    "org:resource",
    "lifecycle:transition",
    "concept:instance",
    "pid",
    *_OWN,
)


class CsvText:
    def head(self) -> str:
        return _lines([COLUMNS])

    def events(self, some: Sequence[Event]) -> str:
        return _lines(
            [
                each.case,
                each.activity,
                each.at.isoformat(),
                each.resource,
                each.transition,
                each.instance,
                each.row["pid"],
                *(each.row[name] for name in _OWN),
            ]
            for each in some
        )

    def tail(self) -> str:
        return ""


def _lines(rows: object) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)  # type: ignore[arg-type]
    return out.getvalue()
