"""The README says what the topics say."""

import re
from pathlib import Path

from kernel_contracts.topics import TOPICS
from rules_svc.consumer import TOPICS as READ

SERVICE = "rules-svc"
README = (Path(__file__).parents[1] / "README.md").read_text()


def _row(name: str) -> set[str]:
    [row] = re.findall(rf"^\| {name} \| (.*) \|$", README, re.MULTILINE)
    return set(re.findall(r"`([a-z-]+)`", row))


def test_what_it_consumes_and_emits() -> None:
    assert _row("consumes") == {topic.name for topic in TOPICS if SERVICE in topic.consumers} == set(READ)
    declared = {topic.name for topic in TOPICS if SERVICE in topic.producers}
    assert _row("emits") <= declared
    assert declared - _row("emits") == {"resource-commands"}, "book and allocate come with a later issue"
