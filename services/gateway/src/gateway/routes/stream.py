"""The live stream and its tickets. What carries it is in `gateway.live`."""

from kernel_runtime.database import Database

from gateway.models.design import Ticket
from gateway.operation import Answer, Call, Handler, Operation, Query
from gateway.reply import Reply, json_reply
from gateway.routes.queries import INTEGER
from gateway.store import issue_ticket

TAG = "Live"
MESSAGE = {
    "type": "object",
    "description": 'One change. The other way is a WebSocket on the same path: send {"subscribe": {"queue": "default"}}.',
    "required": ["id", "type", "time", "data"],
    "properties": {
        "id": {"type": "string", "description": "Where you stand after it: connect again with after=id."},
        "type": {"type": "string"},
        "time": {"type": "string"},
        "data": {"type": "object"},
    },
}


def ticket_handler(database: Database) -> Handler:
    async def ticket(call: Call) -> Reply:
        made, expires = await issue_ticket(database, call.principal)
        body = {"ticket": made, "expires_at": expires.isoformat().replace("+00:00", "Z")}
        return json_reply(body, 201, {"cache-control": "no-store"})

    return ticket


async def _elsewhere(call: Call) -> Reply:
    raise AssertionError("the stream is served by gateway.live")


def operations(database: Database) -> tuple[Operation, ...]:
    return (
        Operation(
            "POST",
            "/v1/stream:ticket",
            "A ticket for one connection to the stream",
            TAG,
            {
                201: Answer(
                    "For browsers, which can't send a token there: add ?ticket=... within 30 seconds.",
                    Ticket,
                    {"ticket": "Zk1...", "expires_at": "2026-11-25T09:00:30Z"},
                )
            },
            handler=ticket_handler(database),
        ),
        Operation(
            "GET",
            "/v1/stream",
            "Changes as they happen (server-sent events or WebSocket)",
            TAG,
            {
                200: Answer(
                    "Events, each with an id to go on from; a heartbeat every 15 seconds.",
                    MESSAGE,
                    media="text/event-stream",
                )
            },
            handler=_elsewhere,
            query=(
                Query("process", "Of this process.", INTEGER),
                Query("tree", "Of this process and its descendants.", INTEGER),
                Query("operator", "Of what this operator runs."),
                Query("queue", "Of this queue."),
                Query("service", "Of this service."),
                Query("entity", "Of this entity, as TYPE:ID, or of all of a type."),
                Query("resource", "Of this resource; stands alone."),
                Query(
                    "after",
                    "Everything that came after the message with this id, then what follows. `Last-Event-ID` does the same.",
                ),
                Query("ticket", "A ticket, instead of the Authorization header."),
            ),
            refuses=(410,),
            description="All that is named must fit. A client that is too slow is cut off with a reason; `after` goes on.",
        ),
    )
