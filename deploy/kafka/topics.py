"""Makes topics.sh from the topics that contracts declare: `python deploy/kafka/topics.py`; `--check` compares."""

import sys
from pathlib import Path

from kernel_contracts.topics import TOPICS

FILE = Path(__file__).parent / "topics.sh"

HEAD = """#!/bin/bash
# Made by topics.py from kernel_contracts.topics; runs in the apache/kafka image. Makes what is missing, and updates settings.
set -euo pipefail
server="$KERNEL_KAFKA_BOOTSTRAP"
replication="${KERNEL_KAFKA_REPLICATION:-1}"
bin=/opt/kafka/bin

topic() {
    local name="$1" partitions="$2"
    shift 2
    local settings=()
    for setting in "$@"; do settings+=(--config "$setting"); done
    "$bin/kafka-topics.sh" --bootstrap-server "$server" --create --if-not-exists --topic "$name" \\
        --partitions "$partitions" --replication-factor "$replication" "${settings[@]}"
    local joined
    joined="$(IFS=,; echo "$*")"
    "$bin/kafka-configs.sh" --bootstrap-server "$server" --alter --topic "$name" --add-config "$joined"
}

"""


def text() -> str:
    lines = []
    for topic in TOPICS:
        lines.append((topic.name, topic.partitions, topic.config))
        if topic.dead_letters:
            lines.append((topic.dlq, 1, topic.dlq_config))
    return HEAD + "".join(
        f"topic {name} {partitions} {' '.join(f'{key}={value}' for key, value in config.items())}\n"
        for name, partitions, config in lines
    )


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        if FILE.is_file() and FILE.read_text() == text():
            return 0
        print("deploy/kafka/topics.sh is not what topics.py says: run `python deploy/kafka/topics.py`", file=sys.stderr)
        return 1
    FILE.write_text(text())
    FILE.chmod(0o755)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
