"""Resources and calendars: what there is a limited amount of, and when."""

from kernel_contracts.resource import CalendarDefinition, ChangeStock, ResourceDefinition
from kernel_contracts.vocabulary import ResourceStatus

from gateway.models.resources import Allocation, Availability, Calendar, OpenWindows, Resource, ResourceState
from gateway.operation import Answer, Body, Operation, Query
from gateway.routes.answers import defined, deleted, one, part
from gateway.routes.queries import INTEGER, PAGE, TIME

OWNER, TAG, DESIGN = "resource-svc", "Resources", "Design"
DEFINITION = {"type": "room", "kind": "exclusive", "capacity": 1, "labels": {"floor": "1"}}
STORED = {"id": "room-101", "version": 1, "status": "in_service", **DEFINITION}
CALENDAR = {
    "time_zone": "Europe/Amsterdam",
    "weekly": {"mon": [["09:00", "17:00"], ["18:00", "20:00", 2]]},
    "exceptions": [{"date": "2026-12-24", "hours": [["09:00", "12:00"]], "note": "Christmas Eve"}],
    "holidays": "NL",
}
OFFICE = {"id": "office", "version": 1, **CALENDAR}
STRETCH = (
    Query("from", "From then on; now, where it is not said.", TIME),
    Query("to", "Until then; a week later.", TIME),
)

OPERATIONS = (
    Operation(
        "GET",
        "/v1/calendars",
        "Find calendars",
        DESIGN,
        part(Calendar, OFFICE),
        owner=OWNER,
        query=PAGE,
    ),
    Operation(
        "GET",
        "/v1/calendars/{id}",
        "One calendar",
        DESIGN,
        one(Calendar, OFFICE),
        owner=OWNER,
        refuses=(404,),
    ),
    Operation(
        "PUT",
        "/v1/calendars/{id}",
        "Define a calendar",
        DESIGN,
        defined(Calendar, OFFICE),
        owner=OWNER,
        body=Body(CalendarDefinition, {"office": CALENDAR}),
        refuses=(404, 412),
    ),
    Operation(
        "GET",
        "/v1/calendars/{id}/windows",
        "When a calendar is open",
        DESIGN,
        {
            200: Answer(
                "With its layers, exceptions, holidays, overtime and leave.",
                OpenWindows,
                {"windows": [{"from": "2026-12-24T08:00:00Z", "to": "2026-12-24T11:00:00Z", "capacity": None}]},
            )
        },
        owner=OWNER,
        query=STRETCH,
        refuses=(404, 409),
    ),
    Operation(
        "GET",
        "/v1/resources",
        "Find resources",
        TAG,
        part(Resource, STORED),
        owner=OWNER,
        query=(
            Query("type", "Of this type."),
            Query("status", "In service, out, retired.", {"type": "string", "enum": list(ResourceStatus)}),
            Query("label", "With this label, as NAME:VALUE."),
            *PAGE,
        ),
    ),
    Operation(
        "GET",
        "/v1/resources/{id}",
        "One resource",
        TAG,
        one(Resource, STORED),
        owner=OWNER,
        refuses=(404,),
    ),
    Operation(
        "PUT",
        "/v1/resources/{id}",
        "Define a resource",
        DESIGN,
        defined(Resource, STORED),
        owner=OWNER,
        body=Body(
            ResourceDefinition,
            {
                "room": DEFINITION,
                "stock": {"type": "form-paper", "kind": "consumable", "stock": 5000, "reorder_at": 500},
            },
        ),
        refuses=(409, 412),
    ),
    deleted("/v1/resources/{id}", "Delete a resource", OWNER),
    Operation(
        "GET",
        "/v1/resources/{id}/status",
        "How much of it is free",
        TAG,
        {
            200: Answer(
                "Now, or at the time asked for.",
                ResourceState,
                {"capacity": 1, "current_usage": 1, "available": 0, "next_change": None},
            )
        },
        owner=OWNER,
        query=(Query("at", "Another time than now.", TIME),),
        refuses=(404, 409),
    ),
    Operation(
        "GET",
        "/v1/resources/{id}/availability",
        "How much of it is free, over time",
        TAG,
        {
            200: Answer(
                "Capacity by the windows of its calendar, less what is held; what is held now counts as held from now on.",
                Availability,
                {"windows": [{"from": "2026-12-24T08:00:00Z", "to": "2026-12-24T11:00:00Z", "free": 1}]},
            )
        },
        owner=OWNER,
        query=STRETCH,
        refuses=(404, 409),
    ),
    Operation(
        "POST",
        "/v1/resources/{id}/stock",
        "Add to its stock, or take from it",
        TAG,
        {200: Answer("As it is now.", Resource, {**STORED, "kind": "consumable", "stock": 5200})},
        owner=OWNER,
        body=Body(ChangeStock, {"delivery": {"delta": 200, "reason": "delivery 881"}}),
        refuses=(404, 409),
    ),
    Operation(
        "GET",
        "/v1/allocations",
        "Who holds what",
        TAG,
        part(Allocation, {"resource": "anna", "pid": 4711, "units": 1, "dispatch_id": "d-4711-1"}),
        owner=OWNER,
        query=(
            Query("pid", "Held by this process.", INTEGER),
            Query("resource", "Of this resource."),
            Query("at", "At this time.", TIME),
            Query("active", "Held now, or given back.", {"type": "boolean"}),
            *PAGE,
        ),
    ),
)
