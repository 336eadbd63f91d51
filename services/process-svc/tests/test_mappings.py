"""Input and output mappings, and the schema of the context that a process starts with."""

from typing import Any

import pytest
from kernel_runtime.problem import Problem

from .lane import Lane

SCHEMA = {"type": "object", "properties": {"total": {"type": "number", "maximum": 100}}, "required": ["total"]}


async def test_a_context_is_computed_at_both_ends(kernel: Lane) -> None:
    await kernel.define(
        entity_type="order",
        input={"total": "=context.price * 2", "id": "=entity.id", "source": "shop"},
        input_schema=SCHEMA,
        output={"paid": "=output.sum >= context.total", "last": {"sum": "=output.sum"}, "id": None},
    )
    entity = {"type": "order", "id": "o-1"}
    process = await kernel.create(entity=entity, context={"price": 20})
    assert process["context"] == {"price": 20, "total": 40, "id": "o-1", "source": "shop"}
    await kernel.grant(process)
    done = await kernel.ask("complete", process["pid"], output={"sum": 40})
    assert (done["outcome"], done["output"]) == ("completed", {"sum": 40})
    assert done["context"] == {"price": 20, "total": 40, "source": "shop", "paid": True, "last": {"sum": 40}}
    dear = await kernel.create(entity=entity, context={"price": 60})
    assert isinstance(dear, Problem)
    assert (dear.status, dear.errors[0][0]) == (422, "/context/total")
    wrong = await kernel.create(entity=entity, context={})
    assert isinstance(wrong, Problem)
    assert (wrong.status, "input/total" in wrong.errors[0][1]) == (422, True)
    assert await kernel.breaches() == {}


async def test_an_output_that_can_not_be_mapped_ends_nothing(kernel: Lane) -> None:
    await kernel.define(output={"sum": "=output.sum + context.sum"})
    process = await kernel.run(context={"sum": 1, "text": "x" * 20_000})
    refused = await kernel.ask("complete", process["pid"], output={})
    assert isinstance(refused, Problem)
    assert refused.status == 422
    assert (await kernel.read(process["pid"]))["state"] == "RUNNING"
    items = [{"pid": process["pid"], "command": "complete", "output": {"sum": 2}}]
    (done,) = (await kernel.http.post("/v1/processes:commands", json={"items": items})).json()["items"]
    assert done["process"]["context"]["sum"] == 3
    failed = await kernel.run(context={"sum": 1})
    await kernel.ask("fail", failed["pid"])
    incident = (await kernel.http.get(f"/v1/incidents?pid={failed['pid']}")).json()["items"][0]["id"]
    body = {"action": "skip", "output": {"sum": 5}}
    skipped = await kernel.http.post(f"/v1/incidents/{incident}/resolve", json=body)
    assert skipped.json()["process"]["context"] == {"sum": 6}
    assert await kernel.breaches() == {}


@pytest.mark.parametrize(
    ("definition", "pointer", "said"),
    [
        ({"input": {"a": "=context.x +"}}, "/input/a", "line 1, column"),
        ({"output": {"a": {"b": "=nothing.x"}}}, "/output/a/b", "line 1, column"),
        ({"input_schema": {"type": "nothing"}}, "/input_schema/type", ""),
        ({"form": {"properties": 3}}, "/form/properties", ""),
        ({"timeout": {"start": "P200Y"}}, "/timeout/start", "hundred"),
        ({"retry": {"budget": "P200Y"}}, "/retry/budget", "hundred"),
        ({"retry": {"jitter": 2}}, "/retry/jitter", ""),
        ({"retry": {"on": ["poison"]}}, "/retry/on/0", ""),
    ],
)
async def test_a_definition_that_is_wrong_says_where(
    kernel: Lane, definition: dict[str, Any], pointer: str, said: str
) -> None:
    answer = await kernel.http.put("/v1/services/check", json=definition)
    assert answer.status_code == 422, answer.text
    error = answer.json()["errors"][0]
    assert error["pointer"].startswith(pointer), answer.text
    assert said in error["message"]
