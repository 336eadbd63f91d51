"""Renders every service's migrations as SQL and lets squawk judge what would lock or break a running installation."""

import os
import re
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

ROOT = Path(__file__).resolve().parents[1]
SQUAWK = Path(sys.executable).parent / "squawk"

# A service creates its tables in one transaction, before anything runs on them; identity columns and text are chosen types.
EXCLUDED = "prefer-robust-stmts,prefer-bigint-over-int,prefer-bigint-over-smallint,require-timeout-settings"

# These are installed with all replicas stopped (ADR 11 and 15 say why), so locks that wait for writers hold nobody up.
STOPPED = {"process_svc": {f"{number:04}" for number in range(2, 14)}, "rules_svc": {"0002"}}
LOCKING = "require-concurrent-index-creation,require-concurrent-index-deletion,renaming-table,renaming-object"

ALEMBICS_OWN = re.compile(r"CREATE TABLE alembic_version .*?;", re.DOTALL)


def as_sql(migrations: Path) -> dict[str, str]:
    """Revision -> its SQL, oldest first."""
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    rendered = {}
    for step in reversed(list(script.walk_revisions())):
        output = StringIO()
        start = step.down_revision if isinstance(step.down_revision, str) else "base"

        def upgrade(*_: object, step: str = step.revision, start: str = start) -> object:
            return script._upgrade_revs(step, start)

        with EnvironmentContext(
            config, script, fn=upgrade, as_sql=True, starting_rev=start, destination_rev=step.revision
        ) as environment:
            environment.configure(dialect_name="postgresql", output_buffer=output, transaction_per_migration=False)
            environment.run_migrations()
        rendered[step.revision] = ALEMBICS_OWN.sub("", output.getvalue())
    return rendered


def judged(files: list[Path], excluded: str) -> str:
    """What squawk finds; nothing where all is well."""
    if not files:
        return ""
    command = [str(SQUAWK), "--assume-in-transaction", f"--exclude={excluded}", "--pg-version=18.0", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}" or f"squawk ended with {done.returncode}"


def main() -> int:
    wrong = False
    for migrations in sorted(ROOT.glob("services/*/src/*/migrations")):
        service = migrations.parent.name
        with tempfile.TemporaryDirectory() as folder:
            running: list[Path] = []
            stopped: list[Path] = []
            for revision, sql in as_sql(migrations).items():
                file = Path(folder) / f"{service}-{revision}.sql"
                file.write_text(sql)
                (stopped if revision in STOPPED.get(service, ()) else running).append(file)
            found = judged(running, EXCLUDED) + judged(stopped, f"{EXCLUDED},{LOCKING}")
        print(f"  {service}: {len(running) + len(stopped)} migrations" + (f"\n{found}" if found else ""))
        wrong = wrong or bool(found)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
