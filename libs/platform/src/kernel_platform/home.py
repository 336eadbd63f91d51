"""Where a local installation keeps everything: one folder that can be deleted."""

import base64
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def checkout() -> Path | None:
    """The checkout that this package is run from, where it is (an installed wheel has none)."""
    root = Path(__file__).resolve().parents[4]
    return root if (root / "pyproject.toml").is_file() and (root / "services").is_dir() else None


def default_root() -> Path:
    named = os.environ.get("KERNEL_HOME")
    return Path(named).expanduser().absolute() if named else (checkout() or Path.cwd()) / ".kernel"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below `$KERNEL_HOME`; nothing is made before it is needed."""

    root: Path

    @classmethod
    def default(cls) -> "Home":
        return cls(default_root())

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def kafka(self) -> Path:
        return self.root / "kafka"

    @property
    def state_file(self) -> Path:
        """What runs now, written by the supervisor."""
        return self.root / "state.json"

    @property
    def lock_file(self) -> Path:
        """Held by the one supervisor of this home."""
        return self.root / "supervisor.lock"

    @property
    def processes_file(self) -> Path:
        """Every process that was started and not yet seen to end, so that a new supervisor can clean up after a killed one."""
        return self.root / "processes.json"

    @property
    def desired_file(self) -> Path:
        """How many replicas of each service there shall be."""
        return self.root / "desired.json"

    @property
    def boot_file(self) -> Path:
        """The progress of the last start, a JSON object a line."""
        return self.root / "boot.jsonl"

    @property
    def issuer_file(self) -> Path:
        return self.root / "issuer.json"

    @property
    def jwks_file(self) -> Path:
        return self.root / "jwks.json"

    @property
    def checkpoints_file(self) -> Path:
        """Each checkpoint that process-svc signed, a line of JSON each."""
        return self.root / "checkpoints.jsonl"

    @property
    def checkpoint_key_file(self) -> Path:
        return self.root / "checkpoint.key"

    def checkpoint_key(self) -> Path:
        """The file with the key that signs checkpoints: 32 random bytes in base64, made once, readable by its owner only."""
        if not self.checkpoint_key_file.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.checkpoint_key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(base64.b64encode(secrets.token_bytes(32)))
        return self.checkpoint_key_file

    def make(self) -> "Home":
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def secret(self, name: str) -> str:
        """A random secret of this installation, the same each time; kept in secrets.json, readable by its owner only."""
        path = self.root / "secrets.json"
        kept: dict[str, str] = read_json(path, {})
        if name not in kept:
            kept[name] = secrets.token_urlsafe(24)
            write_json(path, kept, mode=0o600)
        return kept[name]


def read_json(path: Path, default: Any) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return default


def write_json(path: Path, value: Any, *, mode: int = 0o644) -> None:
    """The whole new content or the old one, whatever happens in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(json.dumps(value, indent=1).encode())
    temporary.replace(path)
