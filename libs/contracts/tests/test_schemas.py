"""Every message type has a committed schema and an example, and both say what the model says."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from kernel_contracts import message_types, schemas
from kernel_contracts.asyncapi import EXAMPLES
from pydantic import BaseModel, ValidationError

MODELS = schemas.models()
KINDS = sorted(MODELS)


def example(kind: str) -> bytes:
    return (EXAMPLES / f"{kind}.json").read_bytes()


def test_the_committed_schemas_are_up_to_date(tmp_path: Path) -> None:
    assert schemas.main(["--check"]) == 0
    assert schemas.main(["--check", "--folder", str(tmp_path)]) == 1
    assert schemas.main(["--folder", str(tmp_path)]) == 0
    assert schemas.main(["--check", "--folder", str(tmp_path)]) == 0
    (tmp_path / f"{KINDS[0]}.json").write_text("{}")
    (tmp_path / "kernel.left.over.v1.json").write_text("{}")
    assert len(schemas.differences(tmp_path)) == 2


def test_every_message_type_is_carried_by_a_topic_and_has_an_example() -> None:
    named = {value for name, value in vars(message_types).items() if name.isupper() and name != "PREFIX"}
    assert named == set(KINDS)
    assert {path.stem for path in EXAMPLES.glob("*.json")} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_examples_fit_the_schema_and_the_model(kind: str) -> None:
    content = json.loads(example(kind))
    schema = json.loads((schemas.FOLDER / f"{kind}.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(content)
    model = MODELS[kind].model_validate_json(example(kind))
    again = MODELS[kind].model_validate_json(model.model_dump_json(by_alias=True))
    assert again == model
    assert unknown(content, json.loads(model.model_dump_json(by_alias=True))) == [], "an example names only what exists"


def unknown(given: object, dumped: object, at: str = "") -> list[str]:
    if isinstance(given, dict) and isinstance(dumped, dict):
        return [
            line
            for name, value in given.items()
            for line in ([f"{at}/{name}"] if name not in dumped else unknown(value, dumped[name], f"{at}/{name}"))
        ]
    if isinstance(given, list) and isinstance(dumped, list):
        return [line for one, other in zip(given, dumped, strict=True) for line in unknown(one, other, f"{at}/*")]
    return []


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_refuses_what_the_model_refuses(kind: str) -> None:
    """Each required field left out, each field with a wrong type."""
    content = json.loads(example(kind))
    validator = Draft202012Validator(json.loads((schemas.FOLDER / f"{kind}.json").read_text()))
    for name in content:
        for value in (None, {"no": "such"}, [[]], -1.5):
            changed = {**content, name: value} if value is not None else {n: v for n, v in content.items() if n != name}
            if not accepts(MODELS[kind], changed):
                assert not validator.is_valid(changed) or fields_must_agree(MODELS[kind], changed), (name, value)


def accepts(model: type[BaseModel], content: object) -> bool:
    try:
        model.model_validate_json(json.dumps(content))
    except ValidationError:
        return False
    return True


def fields_must_agree(model: type[BaseModel], content: object) -> bool:
    """What only a validator of several fields can say is not in the schema."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate_json(json.dumps(content))
    return all(error["type"] == "value_error" for error in caught.value.errors())
