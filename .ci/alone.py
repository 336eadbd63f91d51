"""Installs each package of the workspace, with its extras, into an environment of its own and imports every module of it.

The shared environment hides what a package forgot to declare. Versions come from requirements.lock; wheels from pip's cache.
"""

import re
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PIP = [str(BIN / "pip"), "--disable-pip-version-check", "--quiet"]

IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    if not name.endswith("__main__") and ".versions." not in name:
        importlib.import_module(name)
print(len(names) + 1)
"""


def members() -> list[Path]:
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [ROOT / member for member in workspace["tool"]["uv"]["workspace"]["members"]]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def check(member: Path, folder: Path) -> str:
    began = time.monotonic()
    project = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    package = next((member / "src").glob("*/__init__.py")).parent.name
    environment = folder / project["name"]
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    wheels = ["--find-links", folder / "wheels", "--constraint", folder / "constraints.txt", "--prefer-binary"]
    extras = ",".join(project.get("optional-dependencies", ()))
    run(*PIP, "--python", python, "install", "--no-compile", *wheels, f"{project['name']}[{extras}]", cwd=folder)
    count = run(python, "-c", IMPORT_ALL, package, cwd=folder)
    return f"  {project['name']}: {count} modules imported ({time.monotonic() - began:.0f} s)"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="kernel-alone-") as name:
        folder = Path(name)
        lock = (ROOT / "requirements.lock").read_text()
        pins = re.findall(r"^([A-Za-z0-9._-]+==\S+(?: ; [^\\\n]+)?)", lock, re.MULTILINE)
        (folder / "constraints.txt").write_text("\n".join(pin.strip() for pin in pins) + "\n")
        run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "wheels", *members())
        with ThreadPoolExecutor(max_workers=2) as pool:
            for line in pool.map(lambda member: check(member, folder), members()):
                print(line, flush=True)


if __name__ == "__main__":
    main()
