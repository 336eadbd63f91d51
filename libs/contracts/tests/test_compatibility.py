"""Each kind of break is seeded and found; what does not break passes."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from kernel_contracts import compatibility, schemas

COMMAND, EVENT = "kernel.process.create.v1", "kernel.process.terminated.v1"
NOW = {kind: schemas.schema(kind, model) for kind, model in schemas.models().items()}


def changed(kind: str, path: str, value: Any) -> dict[str, Any]:
    """The old schema with one difference; `...` takes something away."""
    old: dict[str, Any] = copy.deepcopy(NOW[kind])
    *steps, last = path.split("/")
    target: Any = old
    for step in steps:
        target = target[int(step) if isinstance(target, list) else step]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return old


BREAKS: list[tuple[str, str, Any, str]] = [
    (COMMAND, "properties/urgency", {"type": "string"}, "/urgency: removed"),
    (EVENT, "properties/old_name", {"type": "string"}, "/old_name: removed"),
    (EVENT, "$defs/Entity/properties/label", {"type": "string"}, "/entity/label: removed"),
    (COMMAND, "required", [], "/service: is now required"),
    (EVENT, "required", ["pid"], "/tenant: is now required"),
    (EVENT, "required", [*NOW[EVENT]["required"], "outcome"], "/outcome: was always there, and now may be missing"),
    (COMMAND, "properties/service/maxLength", 500, "/service: maxLength was 500 and is 200"),
    (COMMAND, "properties/service/maxLength", ..., "/service: maxLength was not set and is 200"),
    (COMMAND, "properties/service/pattern", ".*", "/service: pattern was"),
    (COMMAND, "properties/after/maxItems", 5000, "/after: maxItems was 5000 and is 1000"),
    (COMMAND, "properties/priority/anyOf/0/maximum", 1000, "/priority: maximum was 1000 and is 100"),
    (COMMAND, "properties/priority/anyOf/0/type", "number", "/priority: the type was integer or number and is integer"),
    (COMMAND, "$defs/AfterMode/enum", ["all", "any", "most"], '/after_mode: "most" is no longer taken'),
    (EVENT, "$defs/ProcessState/enum", [*NOW[EVENT]["$defs"]["ProcessState"]["enum"], "GONE"], '"GONE" is no longer'),
    (EVENT, "properties/pid/type", ["integer", "string"], "/pid: the type was integer or string and is integer"),
    (EVENT, "properties/pid", {}, "/pid: the type was anything and is integer"),
    (EVENT, "properties/pid/type", "string", "/pid: the type was string and is integer"),
    (EVENT, "properties/after/items", {"type": "string"}, "/after/*: the type was string and is integer"),
    (COMMAND, "additionalProperties", True, "/: other fields are no longer taken"),
]
FINE: list[tuple[str, str, Any]] = [
    (COMMAND, "properties/key", ...),
    (EVENT, "properties/demands", ...),
    (COMMAND, "properties/service/maxLength", 100),
    (COMMAND, "required", ["service", "context"]),
    (COMMAND, "$defs/AfterMode/enum", ["all"]),
    (EVENT, "properties/pid/description", "another text"),
    (EVENT, "properties/priority/default", 7),
    (EVENT, "properties/context", {"type": "object", "additionalProperties": True}),
]


@pytest.mark.parametrize(("kind", "path", "value", "told"), BREAKS)
def test_a_break_is_found(kind: str, path: str, value: Any, told: str) -> None:
    found = compatibility.breaches(changed(kind, path, value), NOW[kind])
    assert any(told in line for line in found), found


@pytest.mark.parametrize(("kind", "path", "value"), FINE)
def test_what_breaks_nobody_passes(kind: str, path: str, value: Any) -> None:
    assert compatibility.breaches(changed(kind, path, value), NOW[kind]) == []


@pytest.mark.parametrize("kind", sorted(NOW))
def test_every_schema_is_compatible_with_itself(kind: str) -> None:
    assert compatibility.breaches(NOW[kind], copy.deepcopy(NOW[kind])) == []


def test_the_program_says_so_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compatibility.main([]) == 0
    schemas.write(tmp_path, schemas.files())
    assert compatibility.main(["--folder", str(tmp_path)]) == 0
    (tmp_path / f"{COMMAND}.json").write_text(json.dumps(changed(COMMAND, "required", [])))
    (tmp_path / "kernel.process.gone.v1.json").write_text(json.dumps(NOW[EVENT]))
    assert compatibility.main(["--folder", str(tmp_path)]) == 1
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "kernel.process.gone.v1: the message type is removed",
        f"{COMMAND} /service: is now required",
    ]


def test_against_a_git_ref(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "schemas"
    schemas.write(folder, {**schemas.files(), f"{COMMAND}.json": json.dumps(changed(COMMAND, "required", []))})
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "old"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    schemas.write(folder, schemas.files())
    monkeypatch.setattr(compatibility, "FOLDER", folder)
    assert compatibility.check(compatibility.from_git("HEAD")) == [f"{COMMAND} /service: is now required"]
