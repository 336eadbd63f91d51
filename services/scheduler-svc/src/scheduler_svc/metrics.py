"""What the planner measures of itself, for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

ITEMS = Gauge("kernel_scheduler_items", "Processes in line, proposed, running or holding units.")
PROPOSALS = Counter("kernel_scheduler_proposals_total", "Proposals made to resource-svc.")
DENIALS = Counter("kernel_scheduler_denials_total", "Proposals that were denied.")
PLAN_SECONDS = Histogram(
    "kernel_scheduler_plan_seconds",
    "Time of one plan.",
    buckets=(0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1),
)
