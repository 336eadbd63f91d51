"""Who may: default deny, and the whole table tried on the running gateway."""

import re
from typing import Any, cast

import pytest
from gateway.auth.policy import POLICY, Rule
from kernel_contracts.vocabulary import Role

EXAMPLES = {"pid": "7", "id": "anna", "name": "n", "version": "1", "type": "t", "number": "1"}


def _path(key: str) -> tuple[str, str]:
    method, path = key.split(" ")
    return method, re.sub(r"{(\w+)}", lambda found: EXAMPLES[found[1]], path)


async def test_every_operation_has_a_row_and_every_row_an_operation(gateway: Any) -> None:
    assert {operation.key for operation in gateway.gateway.operations} == set(POLICY)


async def test_nobody_gets_in_where_no_row_is(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(cast(dict[str, Rule], POLICY), "GET /v1/processes")
    gateway = await start()
    async with gateway.http.get(f"{gateway.url}/v1/processes", headers=gateway.bearer(*Role)) as answer:
        assert answer.status == 403


async def test_the_matrix(gateway: Any) -> None:
    """Every operation with no token, with no role, and with each role."""
    for key, rule in POLICY.items():
        if key == "GET /v1/stream":
            continue
        method, path = _path(key)
        assert await _status(gateway, method, path, {}) == 401, key
        assert await _status(gateway, method, path, gateway.bearer("nonsense")) == 403, key
        for role in Role:
            status = await _status(gateway, method, path, gateway.bearer(role, operator="anna"))
            assert (status != 403) == (role in rule.roles), (key, role, status)
            assert status not in (401, 500), (key, role, status)


async def _status(gateway: Any, method: str, path: str, headers: dict[str, str]) -> int:
    body = {} if method == "GET" else {"json": {}}
    async with gateway.http.request(method, gateway.url + path, headers=headers, **body) as answer:
        status: int = answer.status
        return status


async def test_an_operator_acts_for_itself_only(gateway: Any) -> None:
    own, other = gateway.bearer("operator", operator="anna"), gateway.bearer("operator", operator="bob")
    nameless, admin = gateway.bearer("operator"), gateway.bearer("operator", "admin", operator="bob")
    for method, path in (("GET", "/v1/operators/anna/tasks"), ("POST", "/v1/operators/anna/presence")):
        assert await _status(gateway, method, path, own) == 200
        assert await _status(gateway, method, path, other) == 403
        assert await _status(gateway, method, path, nameless) == 403
        assert await _status(gateway, method, path, admin) == 200


def test_a_rule_never_lets_in_who_has_no_role() -> None:
    assert all(isinstance(rule, Rule) and rule.roles and Role.ADMIN in rule.roles for rule in POLICY.values())
