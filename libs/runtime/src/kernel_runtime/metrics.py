"""What a service measures of itself, for Prometheus. Names end in their unit."""

from prometheus_client import Counter, Gauge, Histogram

_FAST = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

BATCH_SIZE = Histogram("kernel_batch_commands", "Commands in one transaction.", buckets=_SIZES)
STAGE_SECONDS = Histogram(
    "kernel_stage_seconds", "Time of one stage of the pipeline for one batch.", ("stage",), buckets=_FAST
)
COMMANDS = Counter("kernel_commands_total", "Commands by name and result.", ("command", "result"))
QUEUE = Gauge("kernel_pipeline_waiting_commands", "Commands that wait for their batch.")
PUBLISHED = Counter("kernel_published_messages_total", "Messages acknowledged by Kafka.")
RELAY_SECONDS = Histogram("kernel_relay_batch_seconds", "From reading the outbox to Kafka's answer.", buckets=_FAST)
OUTBOX_MESSAGES = Gauge("kernel_outbox_messages", "Messages not yet published.")
OUTBOX_AGE = Gauge("kernel_outbox_age_seconds", "Age of the oldest message not yet published.")
CONSUMED = Counter("kernel_consumed_messages_total", "Messages read from Kafka.", ("topic",))
LAG = Gauge("kernel_consumer_lag_messages", "Messages behind the end of a partition.", ("topic", "partition"))
DEAD_LETTERS = Counter("kernel_dead_letters_total", "Messages given up on.", ("topic",))
HTTP_SECONDS = Histogram(
    "kernel_http_request_seconds",
    "Requests by route and status.",
    ("route", "method", "status"),
    buckets=_FAST,
)
LOOP_LAG = Gauge("kernel_loop_lag_seconds", "How late the event loop ran a timer.")
