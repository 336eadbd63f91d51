"""Who the caller is."""

from gateway.models.base import Caller
from gateway.operation import Answer, Call, Operation
from gateway.reply import Reply, json_reply

EXAMPLE = {"subject": "anna", "tenant": "main", "roles": ["operator"], "operator": "anna", "expires": 1795600000.0}


async def me(call: Call) -> Reply:
    return json_reply(call.principal.dump())


OPERATIONS = (
    Operation(
        "GET", "/v1/me", "Who your token says you are", "Identity", {200: Answer("You.", Caller, EXAMPLE)}, handler=me
    ),
)
