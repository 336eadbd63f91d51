"""The bus: which message goes to which handler."""

from collections.abc import Mapping

from kernel_contracts import message_types as types
from kernel_contracts.topics import BY_NAME, PROCESS_COMMANDS, RESOURCE_EVENTS
from kernel_contracts.vocabulary import CommandName
from kernel_runtime.consumer import Route

from process_svc.handlers.bodies import Grant

TOPICS = (PROCESS_COMMANDS, RESOURCE_EVENTS)

_HANDLERS: Mapping[str, CommandName] = {
    types.CREATE_PROCESS: CommandName.CREATE,
    types.SUSPEND_PROCESS: CommandName.SUSPEND,
    types.RESUME_PROCESS: CommandName.RESUME,
    types.CANCEL_PROCESS: CommandName.CANCEL,
    types.COMPLETE_PROCESS: CommandName.COMPLETE,
    types.FAIL_PROCESS: CommandName.FAIL,
    types.WAIT_PROCESS: CommandName.WAIT,
    types.WAKE_PROCESS: CommandName.WAKE,
    types.RELEASE_PROCESS: CommandName.RELEASE,
    types.PREEMPT_PROCESS: CommandName.PREEMPT,
    types.PRIORITIZE_PROCESS: CommandName.PRIORITIZE,
    types.ASSIGN_PROCESS: CommandName.ASSIGN,
    types.ROLLBACK_PROCESS: CommandName.ROLLBACK,
    types.RETRY_PROCESS: CommandName.RETRY,
    types.PATCH_CONTEXT: CommandName.SET_CONTEXT,
    types.MIGRATE_PROCESS: CommandName.MIGRATE,
    types.CALL_PROCESS: CommandName.CALL,
    types.MAP_PROCESS: CommandName.MAP,
    types.ITERATE_PROCESS: CommandName.ITERATE,
    types.ARRIVE_AT_BARRIER: CommandName.ARRIVE,
}

_KNOWN_BY_THE_PROCESS = frozenset({types.COMPLETE_PROCESS, types.CANCEL_PROCESS})
"""What ended a process it knows itself (`ended_by`): these need no inbox."""

ROUTES: Mapping[str, Route] = {
    **{
        kind: Route(
            command.value,
            BY_NAME[PROCESS_COMMANDS].messages[kind],
            remember=kind not in _KNOWN_BY_THE_PROCESS,
            topic=PROCESS_COMMANDS,
        )
        for kind, command in _HANDLERS.items()
    },
    types.RESOURCES_GRANTED: Route("dispatch", Grant, topic=RESOURCE_EVENTS),
}
"""A grant needs no inbox either: the process knows its dispatch."""
