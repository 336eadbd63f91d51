"""The command as a user meets it: exit codes, one clear line where something is wrong, never a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = Path(sys.executable).with_name("kernel")


def kernel(home: Path, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [KERNEL, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "KERNEL_HOME": str(home), **environment},
    )


def test_nothing_runs(tmp_path: Path) -> None:
    told = kernel(tmp_path, "status", "--json")
    assert told.returncode == 1
    assert json.loads(told.stdout) == {"ready": False, "gateway": None, "kafka": None, "postgres": {}, "services": []}
    assert "kernel up" in kernel(tmp_path, "status").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["ps"], 1, "nothing runs here"),
        (["ps", "--url", "http://127.0.0.1:9"], 1, "does not answer"),
        (["submit", "x", "--entity", "nonsense"], 2, "TYPE:ID"),
        (["submit", "x", "--context", "{"], 2, "not JSON"),
        (["complete", "1", "--output", "[]"], 2, "JSON object"),
        (["complete", "abc"], 2, "Invalid value"),
        (["apply", "-f", "/no/such/file.yaml"], 2, "there is no /no/such/file.yaml"),
        (["token", "--role", "king"], 2, "no such role: king"),
        (["up", "--services", "process-svc"], 2, "NAME=N"),
        (["up", "--services", "nonsense=1"], 1, "there is no service nonsense"),
        (["replay", "/no/such/log.csv"], 1, "can't be read"),
        (["replay", "x.csv", "--speed", "fast"], 2, "--speed takes a number or max"),
        (["work"], 1, "nothing runs here"),
        (["worker", "nothing"], 2, "say MODULE:NAME"),
        (["worker", "no.such.module:worker"], 2, "there is no module no.such.module"),
        (["worker", "/no/such/file.py:worker"], 2, "there is no file /no/such/file.py"),
        (["worker", "json:worker"], 2, "json has no Worker named worker"),
        (["run", "no-such-example"], 2, "there is no example no-such-example"),
        (["fsck"], 1, "nothing runs here"),
        (["dlq", "list"], 1, "nothing runs here"),
        (["verify"], 1, "nothing runs here"),
        (["verify", "--checkpoints", "/no/such/file"], 1, "can't be read"),
        (["export"], 1, "nothing runs here"),
        (["hold", "add", "a case"], 2, "--pid or --where"),
        (["hold", "add", "a case", "--where", "x"], 2, "NAME=VALUE"),
        (["bulk", "cancel"], 2, "say which"),
        (["bulk", "cancel", "--where", "x"], 2, "NAME=VALUE"),
        (["bulk", "cancel", "--entity", "x"], 2, "TYPE:ID"),
        (["bulk", "resolve", "--all"], 2, "--set action="),
        (["bulk", "cancel", "--all"], 1, "nothing runs here"),
        (["job", "1", "--pause", "--cancel"], 2, "one of --pause"),
        (["jobs"], 1, "nothing runs here"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    told = kernel(tmp_path, *arguments, KERNEL_URL="", NO_COLOR="1", COLUMNS="200")
    assert told.returncode == code, told
    assert says in told.stderr, told
    assert "Traceback" not in told.stderr + told.stdout


def test_a_log_without_a_usable_row(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("case,activity,end\n1,A,never\n")
    told = kernel(tmp_path, "replay", str(log))
    assert told.returncode == 1
    assert "no usable rows (1 bad ones; line 2: end: 'never' is not a time)" in told.stderr


def test_a_token(tmp_path: Path) -> None:
    told = kernel(tmp_path, "token", "--role", "operator", "--operator", "ann", "--ttl", "5")
    assert told.returncode == 0
    assert told.stdout.count(".") == 2


def test_a_folder_is_one_design(tmp_path: Path) -> None:
    from kernel_client.cli.design import read

    (tmp_path / "a.yaml").write_text("services: {one: {roles: [x]}}\n")
    (tmp_path / "b.json").write_text('{"services": {"two": {}}, "operators": {"ann": {}}}')
    (tmp_path / "readme.txt").write_text("no design")
    assert read(tmp_path) == {"services": {"one": {"roles": ["x"]}, "two": {}}, "operators": {"ann": {}}}
    (tmp_path / "c.yaml").write_text("services: {one: {}}\n")
    told = kernel(tmp_path, "apply", "-f", str(tmp_path))
    assert told.returncode == 2
    assert "services/one, which another file of the folder has too" in told.stderr


def test_the_command_starts_without_what_it_does_not_need() -> None:
    heavy = "aiohttp|rich.table|pydantic|yaml|kernel_platform.control|confluent_kafka|asyncpg"
    code = f"import kernel_client.cli, sys; print([name for name in '{heavy}'.split('|') if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_contest_hands_over_to_the_planner(tmp_path: Path) -> None:
    lines = '{"contest":"swf","procs":1}\n{"t":0,"submit":[{"id":0,"procs":1,"est":5}],"done":[]}\n'
    done = kernel(tmp_path, "contest", "swf", stdin=lines)
    assert json.loads(done.stdout) == {"start": [0]}
