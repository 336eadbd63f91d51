"""The bus as an AsyncAPI 3.0 document, made from `topics.py`: `python -m kernel_contracts.asyncapi` writes docs/asyncapi.json.

Operations are named SERVICE.sends.TOPIC and SERVICE.receives.TOPIC. Business events have no message here: their types belong to
those who publish them.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from kernel_contracts.schemas import models
from kernel_contracts.topics import OTHERS, TOPICS, Topic

FILE = Path(__file__).parents[4] / "docs" / "asyncapi.json"
EXAMPLES = Path(__file__).parents[2] / "examples"

TEXT = {"type": "string", "maxLength": 500}
COUNT = {"type": "string", "pattern": "^[0-9]{1,18}$"}
HEADERS = {
    "type": "object",
    "required": ["ce_specversion", "ce_id", "ce_type", "ce_source"],
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {**TEXT, "description": "Unique per source and tenant; the same again is the same message."},
        "ce_type": TEXT,
        "ce_source": TEXT,
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_subject": TEXT,
        "ce_tenant": {**TEXT, "description": "Without it: the installation's default tenant."},
        "ce_causationid": {**TEXT, "description": "The id of the message that this one follows from."},
        "ce_correlationid": {**TEXT, "description": "The same along a whole chain."},
        "ce_depth": {**COUNT, "description": "The length of the chain; rules stop at 64."},
        "ce_aggregateversion": {
            **COUNT,
            "description": "The version of the process or resource that the body describes.",
        },
        "ce_dispatchid": {**TEXT, "description": "The dispatch that runs now, or has just ended."},
        "ce_give": {"enum": ["running", "all"], "description": "What the process gives back by this event."},
        "content-type": {"const": "application/json"},
        "traceparent": {"type": "string", "description": "W3C trace context."},
    },
}


def document() -> dict[str, Any]:
    """The whole of it."""
    every = models()
    unique = list(dict.fromkeys(every.values()))
    _, definitions = models_json_schema(
        [(model, "validation") for model in unique], by_alias=True, ref_template="#/components/schemas/{model}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Kernel: the bus",
            "version": "1",
            "description": "CloudEvents 1.0 in Kafka's binary content mode. Everything may come twice, and late.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS} | _dead_letters(),
        "operations": dict(pair for topic in TOPICS for pair in _operations(topic)),
        "components": {
            "messages": {
                kind: {
                    "name": kind,
                    "title": model.__name__,
                    "summary": (model.__doc__ or "").strip().splitlines()[0] if model.__doc__ else "",
                    "contentType": "application/json",
                    "headers": {"$ref": "#/components/schemas/CloudEventHeaders"},
                    "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
                    "examples": _examples(kind),
                }
                for kind, model in every.items()
            },
            "schemas": {"CloudEventHeaders": HEADERS, **definitions["$defs"]},
        },
    }


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"Key: {topic.key}.",
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"} for kind in topic.messages},
        "bindings": {"kafka": _binding(topic.partitions, topic.config)},
    }


def _dead_letters() -> dict[str, Any]:
    return {
        topic.dlq: {
            "address": topic.dlq,
            "description": f"What consumers of {topic.name} gave up on, as it came, with headers kernel-dlq-* that say why.",
            "messages": {},
            "bindings": {"kafka": _binding(1, topic.dlq_config)},
        }
        for topic in TOPICS
        if topic.dead_letters
    }


def _binding(partitions: int, config: dict[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = {"cleanup.policy": [config["cleanup.policy"]]}
    for name in ("retention.ms", "max.message.bytes"):
        if name in config:
            told[name] = int(config[name])
    return {"partitions": partitions, "topicConfiguration": told, "bindingVersion": "0.5.0"}


def _operations(topic: Topic) -> list[tuple[str, dict[str, Any]]]:
    sides = (("send", "sends", topic.producers), ("receive", "receives", topic.consumers))
    return [
        (
            f"{service}.{verb}.{topic.name}",
            {
                "action": action,
                "channel": {"$ref": f"#/channels/{topic.name}"},
                "title": f"{'Other systems' if service == OTHERS else service} {verb} {topic.name}",
                "tags": [{"name": service}],
            },
        )
        for action, verb, services in sides
        for service in services
    ]


def _examples(kind: str) -> list[dict[str, Any]]:
    file = EXAMPLES / f"{kind}.json"
    return [{"payload": json.loads(file.read_text())}] if file.is_file() else []


def text() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m kernel_contracts.asyncapi", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where the file is not up to date")
    parser.add_argument("--file", type=Path, default=FILE)
    told = parser.parse_args(arguments)
    if told.check:
        if told.file.is_file() and told.file.read_text() == text():
            return 0
        print(f"{told.file} is not what topics.py says: run `python -m kernel_contracts.asyncapi`", file=sys.stderr)
        return 1
    told.file.parent.mkdir(parents=True, exist_ok=True)
    told.file.write_text(text())
    print(told.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
