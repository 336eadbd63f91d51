"""The bus: which message goes to which handler."""

from collections.abc import Mapping

from kernel_contracts import message_types as types
from kernel_contracts.resource import ResourcesGranted
from kernel_contracts.topics import BY_NAME, PROCESS_COMMANDS, RESOURCE_EVENTS
from kernel_runtime.consumer import Route

TOPICS = (PROCESS_COMMANDS, RESOURCE_EVENTS)

_HANDLERS: Mapping[str, str] = {
    types.CREATE_PROCESS: "create",
    types.SUSPEND_PROCESS: "suspend",
    types.RESUME_PROCESS: "resume",
    types.CANCEL_PROCESS: "cancel",
    types.COMPLETE_PROCESS: "complete",
    types.FAIL_PROCESS: "fail",
    types.WAIT_PROCESS: "wait",
    types.WAKE_PROCESS: "wake",
    types.RELEASE_PROCESS: "release",
    types.PREEMPT_PROCESS: "preempt",
    types.PRIORITIZE_PROCESS: "prioritize",
    types.ASSIGN_PROCESS: "assign",
    types.ROLLBACK_PROCESS: "rollback",
    types.RETRY_PROCESS: "retry",
    types.PATCH_CONTEXT: "set_context",
}

ROUTES: Mapping[str, Route] = {
    **{
        kind: Route(handler, BY_NAME[PROCESS_COMMANDS].messages[kind], remember=True)
        for kind, handler in _HANDLERS.items()
    },
    types.RESOURCES_GRANTED: Route("dispatch", ResourcesGranted),
}
"""A grant needs no inbox: the process knows its dispatch."""
