"""What the service reads and writes is what contracts and README say; its messages are what the contracts describe."""

from pathlib import Path

from kernel_contracts.process import ProcessEvent
from kernel_contracts.resource import AllocateResources
from kernel_contracts.scheduler import QueueChanged, QueueDefinition
from kernel_contracts.topics import BY_NAME, TOPICS
from kernel_runtime.command import Cause, Command
from scheduler_svc import wire
from scheduler_svc.consumer import ROUTES
from scheduler_svc.consumer import TOPICS as READ
from scheduler_svc.texts import demands_of

from .world import START, item

README = (Path(__file__).parents[1] / "README.md").read_text()
WRITTEN = {"resource-commands", "definitions"}


def _section(name: str) -> str:
    return README.split(f"**{name}**")[1].split("\n**")[0]


def test_the_topics_it_reads_and_writes() -> None:
    assert {topic.name for topic in TOPICS if "scheduler-svc" in topic.consumers} == set(READ)
    assert {topic for topic in BY_NAME if f"| {topic} |" in _section("Consumes")} == set(READ)
    assert {topic for topic in BY_NAME if f"| {topic} |" in _section("Emits")} == WRITTEN
    assert all("scheduler-svc" in BY_NAME[topic].producers for topic in WRITTEN)
    known = {type for topic in READ for type in BY_NAME[topic].messages}
    assert set(ROUTES) <= known


def test_a_ready_event_is_part_of_a_process_event() -> None:
    for name, field in wire.ReadyEvent.model_fields.items():
        other = ProcessEvent.model_fields[name]
        if name != "demands":
            assert field.annotation == other.annotation, name
        assert field.is_required() == other.is_required()


def test_a_proposal_is_what_the_contract_says() -> None:
    made = item(7)
    made.demands = demands_of(
        [
            {"type": "operator", "roles": ["clerk"], "skills": [{"skill": "dutch", "level": 2}]},
            {"type": "entity", "resource": "entity:permit:1", "hold": "process"},
        ]
    )
    made.candidates = (("anna", "bert"), ("entity:permit:1",))
    made.dispatch_id = "7.2.1"
    made.cause = '["7.2","chain",4,null]'
    message = wire.allocate(made, START)
    told = AllocateResources.model_validate_json(message.body)
    assert [proposal.candidates for proposal in told.proposals] == [["anna", "bert"], ["entity:permit:1"]]
    assert told.proposals[0].demand.skills[0].level == 2
    assert told.model_dump_json(exclude_unset=True).encode() == message.body
    envelope = message.envelope
    assert (envelope.id, envelope.dispatch, envelope.version) == ("7.2.1", "7.2.1", 2)
    assert (envelope.correlation, envelope.depth, envelope.causation) == ("chain", 4, "7.2")


def test_a_queue_is_told_as_the_contract_says() -> None:
    command = Command("1", "define_queue", "main", None, "tess", Cause(None, "c"))
    message = wire.queue_told(command, "permits", 3, QueueDefinition(paused=True), START)
    told = QueueChanged.model_validate_json(message.body)
    assert (told.tenant, told.name, told.version, told.definition.paused) == ("main", "permits", 3, True)
    assert message.key == "queue/main/permits"
