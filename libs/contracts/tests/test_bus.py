"""The one page of the bus, and the document made from it."""

import enum
import inspect
import json
import re
from typing import Any

from kernel_contracts import asyncapi, vocabulary
from kernel_contracts.topics import BY_NAME, OTHERS, TOPICS

SERVICES = {"process-svc", "resource-svc", "scheduler-svc", "rules-svc", "gateway", OTHERS}


def test_topics_are_named_and_owned_as_agreed() -> None:
    assert len(BY_NAME) == len(TOPICS) == 7
    for topic in TOPICS:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", topic.name), "no dots and no underscores: they collide in metrics"
        assert set(topic.producers) | set(topic.consumers) <= SERVICES
        assert topic.key
        for kind in topic.messages:
            assert re.fullmatch(r"kernel\.[a-z]+\.[a-z_]+\.v[1-9]", kind)
        if topic.name.endswith("-commands"):
            assert len(topic.consumers) == 1, "a command's shape belongs to its receiver"
    owners = [topic for topic in TOPICS if topic.name.endswith("-events") and topic.messages]
    assert all(len(topic.producers) == 1 for topic in owners), "an event's shape belongs to its sender"


def test_the_vocabulary_holds_types_only() -> None:
    for name, member in vars(vocabulary).items():
        if name.startswith("_") or getattr(member, "__module__", None) != vocabulary.__name__:
            continue
        if inspect.isclass(member):
            assert issubclass(member, enum.StrEnum), name
            own = {each for each in vars(member) if not each.startswith("_")}
            assert own == set(member.__members__), f"{name} has grown {own - set(member.__members__)}"
        else:
            assert callable(member), name
            assert hasattr(member, "__supertype__"), f"{name} is no NewType"


def test_the_document_is_up_to_date() -> None:
    assert asyncapi.main(["--check"]) == 0


def test_the_document_is_an_asyncapi_3_document() -> None:
    """The rules of the specification that this document can break: fields, references, names."""
    document = json.loads(asyncapi.FILE.read_text())
    assert document["asyncapi"] == "3.0.0"
    assert document.keys() <= {
        *("asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations", "components")
    }
    assert {"title", "version"} <= document["info"].keys()
    key = re.compile(r"[A-Za-z0-9._-]+")
    for section in (document["channels"], document["operations"], *document["components"].values()):
        assert all(key.fullmatch(name) for name in section)
    addresses = [channel["address"] for channel in document["channels"].values()]
    assert len(addresses) == len(set(addresses))
    for channel in document["channels"].values():
        assert channel.keys() <= {"address", "title", "summary", "description", "messages", "bindings", "tags"}
        kafka = channel["bindings"]["kafka"]
        assert kafka.keys() <= {"topic", "partitions", "replicas", "topicConfiguration", "bindingVersion"}
        policy = kafka["topicConfiguration"]["cleanup.policy"]
        assert isinstance(policy, list)
        assert set(policy) <= {"delete", "compact"}
        assert all(message["$ref"].startswith("#/components/messages/") for message in channel["messages"].values())
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert operation["channel"]["$ref"].startswith("#/channels/")
    for message in document["components"]["messages"].values():
        assert message.keys() <= {*["name", "title", "summary", "contentType", "headers", "payload", "examples"]}
        assert len(message["examples"]) == 1
        assert message["examples"][0].keys() <= {"name", "summary", "headers", "payload"}
    assert document["components"]["schemas"]["CloudEventHeaders"]["type"] == "object"
    for reference in references(document):
        target: Any = document
        assert reference.startswith("#/")
        for step in reference[2:].split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]
        assert target


def references(value: Any) -> list[str]:
    """Every `$ref` outside of examples."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [each for name, inner in value.items() if name != "examples" for each in references(inner)]
    return [each for inner in value for each in references(inner)] if isinstance(value, list) else []


def test_the_document_says_what_the_topics_say() -> None:
    document = asyncapi.document()
    for topic in TOPICS:
        channel = document["channels"][topic.name]
        assert set(channel["messages"]) == set(topic.messages)
        assert channel["bindings"]["kafka"]["partitions"] == topic.partitions
        assert (topic.dlq in document["channels"]) == topic.dead_letters
        for service in topic.producers:
            assert document["operations"][f"{service}.sends.{topic.name}"]["action"] == "send"
        for service in topic.consumers:
            assert document["operations"][f"{service}.receives.{topic.name}"]["action"] == "receive"
