"""What process-svc is told besides what every service is."""

from datetime import timedelta
from pathlib import Path

from kernel_runtime.settings import ServiceSettings
from pydantic import Field, SecretStr


class Settings(ServiceSettings):
    tree_limit: int = 20_000
    """Processes of one family that are shown at once."""
    retention: timedelta | None = None
    """How long after its end the history of a process is kept at least (ISO 8601, `P365D`); none: for ever. ADR 15."""
    checkpoint_key: SecretStr = SecretStr("")
    """Signs checkpoints: an Ed25519 key as PEM, or its 32 bytes in base64. Empty: see `checkpoint_key_file`."""
    checkpoint_key_file: Path | None = None
    """Where the key is. Neither: no checkpoints are made."""
    checkpoint_every: float = Field(default=60.0, gt=0)
    """Seconds between two checkpoints of what has changed."""
    checkpoint_file: Path | None = None
    """Each checkpoint is added to this file too: what lies outside of the database shows where that was set back."""
