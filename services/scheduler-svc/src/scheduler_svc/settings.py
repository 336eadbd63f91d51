"""What scheduler-svc is told from outside."""

from kernel_runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    most_placements: int = 2_000
    """Of one batch; where more is possible the next batch goes on."""
    stale_after: float = 300.0
    """Seconds without an answer after which fsck names a proposal."""
