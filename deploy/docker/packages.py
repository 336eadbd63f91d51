"""Which locked packages each image needs: `python deploy/docker/packages.py` writes packages/SERVICE.txt, `--check` compares.

Follows the declared dependencies of what is installed here; the versions and hashes stay in requirements.lock alone.
"""

import re
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).parent / "packages"
SERVICES = ("process-svc", "resource-svc", "scheduler-svc", "rules-svc", "gateway")
BUILD = ("hatchling",)
OURS = frozenset(("kernel-contracts", "kernel-runtime", "kernel-worktime", *SERVICES))


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(service: str) -> list[str]:
    """What our own packages of one image declare."""
    members = [ROOT / "libs/contracts", ROOT / "libs/runtime", ROOT / "libs/worktime", ROOT / "services" / service]
    return [
        line
        for member in members
        for line in tomllib.loads((member / "pyproject.toml").read_text())["project"]["dependencies"]
    ]


def closure(requirements: list[str]) -> set[str]:
    """Every package that these need, on Linux and this Python."""
    found: set[str] = set()
    asked: set[tuple[str, frozenset[str]]] = set()
    todo = [Requirement(line) for line in requirements]
    while todo:
        requirement = todo.pop()
        name, extras = canonical(requirement.name), frozenset(requirement.extras)
        if name in OURS or (name, extras) in asked:
            continue
        asked.add((name, extras))
        found.add(name)
        for line in distribution(name).requires or ():
            inner = Requirement(line)
            wanted = [{"extra": extra} for extra in (extras or [""])]
            if inner.marker is None or any(inner.marker.evaluate(each) for each in wanted):
                todo.append(inner)
    return found


def locked() -> set[str]:
    return set(re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))


def files() -> dict[str, str]:
    lists = {
        "build.txt": closure(list(BUILD)),
        **{f"{service}.txt": closure(declared(service)) for service in SERVICES},
    }
    return {name: "".join(f"{package}\n" for package in sorted(packages)) for name, packages in lists.items()}


def main(arguments: list[str]) -> int:
    wanted = files()
    missing = {line for text in wanted.values() for line in text.split()} - {canonical(name) for name in locked()}
    if missing:
        print(f"not in requirements.lock: {', '.join(sorted(missing))}", file=sys.stderr)
        return 1
    if arguments == ["--check"]:
        stale = [
            name
            for name, text in wanted.items()
            if not (FOLDER / name).is_file() or (FOLDER / name).read_text() != text
        ]
        for name in stale:
            print(f"{name} is not what is declared: run `python deploy/docker/packages.py`", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
