#!/bin/bash
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
    "$bin/kafka-topics.sh" --bootstrap-server "$server" --create --if-not-exists --topic "$name" \
        --partitions "$partitions" --replication-factor "$replication" "${settings[@]}"
    local joined
    joined="$(IFS=,; echo "$*")"
    "$bin/kafka-configs.sh" --bootstrap-server "$server" --alter --topic "$name" --add-config "$joined"
}

topic process-commands 4 cleanup.policy=delete retention.ms=604800000 max.message.bytes=4194304
topic process-commands-dlq 1 cleanup.policy=delete retention.ms=2592000000 max.message.bytes=4194304
topic process-events 4 cleanup.policy=delete retention.ms=604800000 max.message.bytes=4194304
topic process-events-dlq 1 cleanup.policy=delete retention.ms=2592000000 max.message.bytes=4194304
topic resource-commands 4 cleanup.policy=delete retention.ms=604800000 max.message.bytes=4194304
topic resource-commands-dlq 1 cleanup.policy=delete retention.ms=2592000000 max.message.bytes=4194304
topic resource-events 4 cleanup.policy=delete retention.ms=604800000 max.message.bytes=4194304
topic resource-events-dlq 1 cleanup.policy=delete retention.ms=2592000000 max.message.bytes=4194304
topic rule-events 4 cleanup.policy=delete retention.ms=604800000 max.message.bytes=4194304
topic rule-events-dlq 1 cleanup.policy=delete retention.ms=2592000000 max.message.bytes=4194304
topic definitions 1 cleanup.policy=compact max.message.bytes=4194304
topic business-events 4 cleanup.policy=delete retention.ms=604800000 max.message.bytes=4194304
topic business-events-dlq 1 cleanup.policy=delete retention.ms=2592000000 max.message.bytes=4194304
