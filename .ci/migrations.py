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


def main() -> int:
    code = 0
    quiet = {**os.environ, "NO_COLOR": "1"}
    for migrations in sorted(ROOT.glob("services/*/src/*/migrations")):
        service = migrations.parent.name
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for revision, sql in as_sql(migrations).items():
                files.append(Path(folder) / f"{service}-{revision}.sql")
                files[-1].write_text(sql)
            command = [str(SQUAWK), "--assume-in-transaction", f"--exclude={EXCLUDED}", "--pg-version=18.0"]
            judged = subprocess.run(
                [*command, *map(str, files)], capture_output=True, text=True, check=False, env=quiet
            )
        print(
            f"  {service}: {len(files)} migrations"
            + ("" if judged.returncode == 0 else f"\n{judged.stdout}{judged.stderr}")
        )
        code = code or judged.returncode
    return code


if __name__ == "__main__":
    sys.exit(main())
