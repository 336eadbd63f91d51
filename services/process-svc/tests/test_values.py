"""Merge patch (the RFC's own table), differences, and the chain of snapshots."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from process_svc.domain.difference import difference
from process_svc.domain.merge import merge
from process_svc.domain.snapshots import GENESIS, Snapshot, first_broken, link

RFC_7396 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab~/", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab~/", max_size=3), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7396)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    before = json.dumps(target)
    assert merge(target, patch) == result
    assert json.dumps(target) == before


def applied(value: Any, operations: list[dict[str, Any]]) -> Any:
    holder = {"": json.loads(json.dumps(value))}
    for operation in operations:
        *parents, last = ["", *(p.replace("~1", "/").replace("~0", "~") for p in operation["path"].split("/")[1:])]
        at: Any = holder
        for name in parents:
            at = at[int(name) if isinstance(at, list) else name]
        place: Any = int(last) if isinstance(at, list) else last
        if operation["op"] == "remove":
            del at[place]
        elif operation["op"] == "add" and isinstance(at, list):
            at.insert(place, operation["value"])
        else:
            at[place] = operation["value"]
    return holder[""]


def test_lists_are_compared_by_their_elements() -> None:
    lines = [{"sku": n, "count": 1} for n in range(9)]
    more = [*lines[:4], {"sku": 4, "count": 2}, *lines[5:]]
    assert difference(lines, more, "/lines") == [{"op": "replace", "path": "/lines/4/count", "value": 2}]
    assert difference(lines, [*lines, 1]) == [{"op": "add", "path": "/9", "value": 1}]
    assert difference(lines, lines[:2] + lines[4:]) == [{"op": "remove", "path": "/3"}, {"op": "remove", "path": "/2"}]
    assert difference([1, 2], [3, 4], "/a") == [{"op": "replace", "path": "/a", "value": [3, 4]}]


@given(VALUES, VALUES)
def test_a_difference_leads_from_one_to_the_other(before: Any, after: Any) -> None:
    assert json.dumps(applied(before, difference(before, after)), sort_keys=True) == json.dumps(after, sort_keys=True)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=6), st.data())
def test_a_chain_verifies_and_any_edit_shows(contexts: list[str], data: st.DataObject) -> None:
    chain: list[Snapshot] = []
    previous = GENESIS
    for version, context in enumerate(contexts, 1):
        chain.append(Snapshot(1, version, context, link(previous, context), previous))
        previous = chain[-1].hash
    assert first_broken(chain) is None
    at = data.draw(st.integers(0, len(chain) - 1))
    edited = [*chain]
    edited[at] = Snapshot(1, at + 1, contexts[at] + "!", chain[at].hash, chain[at].previous_hash)
    assert first_broken(edited) == at + 1
    if at + 1 < len(chain):
        assert first_broken(chain[:at] + chain[at + 1 :]) is not None
