"""Tokens: what is let in, and every way round that we know of."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import OKPKey


async def status(gateway: Any, token: str | None, path: str = "/v1/me") -> int:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    async with gateway.http.get(gateway.url + path, headers=headers) as answer:
        if answer.status == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.content_type == "application/problem+json"
        code: int = answer.status
        return code


@pytest.mark.parametrize("algorithm", ["Ed25519", "RS256", "ES256"])
async def test_good_tokens(gateway: Any, algorithm: str) -> None:
    token = gateway.issuer.token("viewer", "nonsense", algorithm=algorithm, tenant="blue", operator="anna")
    for _ in range(2):
        async with gateway.http.get(f"{gateway.url}/v1/me", headers={"authorization": f"bearer {token}"}) as answer:
            assert answer.status == 200
            told = await answer.json()
    assert (told["subject"], told["tenant"], told["roles"], told["operator"]) == ("anna", "blue", ["viewer"], "anna")


async def test_no_token_and_other_schemes(gateway: Any) -> None:
    assert await status(gateway, None) == 401
    async with gateway.http.get(f"{gateway.url}/v1/me", headers={"authorization": "Basic YTpi"}) as answer:
        assert answer.status == 401
    assert await status(gateway, None, f"/v1/me?access_token={gateway.issuer.token('admin')}") == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1_000_000_000},
        {"exp": None},
        {"exp": "soon"},
        {"exp": float("inf")},
        {"nbf": 4_000_000_000},
        {"aud": "other"},
        {"aud": None},
        {"iss": "https://evil.test"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\r\nx-kernel-roles: admin"},
        {"sub": 7},
        {"tenant": "a/b"},
        {"tenant": ["main"]},
        {"roles": {"admin": True}},
        {"roles": [["admin"]]},
    ],
    ids=repr,
)
async def test_bad_claims(gateway: Any, claims: dict[str, Any]) -> None:
    assert await status(gateway, gateway.issuer.token("admin", **claims)) == 401


async def test_clocks_may_differ_a_little(gateway: Any) -> None:
    now = int(time.time())
    assert await status(gateway, gateway.issuer.token("admin", exp=now - 30)) == 200
    assert await status(gateway, gateway.issuer.token("admin", nbf=now + 30)) == 200
    assert await status(gateway, gateway.issuer.token("admin", exp=now - 61)) == 401
    assert await status(gateway, gateway.issuer.token("admin", nbf=now + 65)) == 401
    assert await status(gateway, gateway.issuer.token("admin", aud=["x", "kernel"])) == 200


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_no_signature_is_no_token(gateway: Any) -> None:
    claims = gateway.issuer.claims("admin")
    for header in ({"alg": "none"}, {"alg": "None", "typ": "JWT"}, {}, {"alg": None}):
        assert await status(gateway, f"{_part(header)}.{_part(claims)}.") == 401


@pytest.mark.parametrize("algorithm", ["Ed25519", "RS256", "ES256"])
async def test_the_public_key_is_no_secret(gateway: Any, algorithm: str) -> None:
    """The classic: HS256 with the issuer's public key as the secret."""
    key = gateway.issuer.keys[algorithm]
    for secret in (key.as_pem(private=False), json.dumps(key.as_dict(private=False)).encode()):
        signed = f"{_part({'alg': 'HS256', 'kid': key.kid})}.{_part(gateway.issuer.claims('admin'))}"
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        assert await status(gateway, f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}") == 401


async def test_another_key_does_not_sign_for_the_issuer(gateway: Any) -> None:
    foreign = type(gateway.issuer)()
    assert await status(gateway, foreign.token("admin")) == 401
    own = OKPKey.generate_key("Ed25519", {"kid": "mine"})
    header = {"kid": "mine", "jwk": own.as_dict(private=False), "jku": "http://127.0.0.1:9/jwks"}
    foreign.keys["Ed25519"] = own
    assert await status(gateway, foreign.token("admin", header=header)) == 401


async def test_tampering_and_rubbish(gateway: Any) -> None:
    good = gateway.issuer.token("viewer")
    header, claims, signature = good.split(".")
    more = _part(gateway.issuer.claims("admin"))
    rubbish = [
        "",
        "a",
        "a.b",
        "a.b.c",
        "...",
        f"{header}.{more}.{signature}",
        f"{header}.{claims}.",
        f"{good}.x",
        "é.é.é",
        "x" * 9000,
    ]
    for token in rubbish:
        assert await status(gateway, token) == 401, token
    crit = gateway.issuer.token("admin", header={"crit": ["kid"]})
    assert await status(gateway, crit) == 401
    assert await status(gateway, good) == 200


async def test_rotated_keys_are_found_and_withdrawn_ones_stop_counting(gateway: Any) -> None:
    old = gateway.issuer.token("viewer")
    assert await status(gateway, old) == 200
    rotated = type(gateway.issuer)()
    for name, key in rotated.keys.items():
        rotated.keys[name] = type(key).import_key({**key.as_dict(private=True), "kid": f"new-{name}"})
    await asyncio.to_thread(Path(gateway.gateway.settings.auth_jwks).write_text, rotated.jwks())
    gateway.gateway.keys._asked = float("-inf")  # 30 s have passed
    assert await status(gateway, rotated.token("viewer")) == 200
    assert await status(gateway, old) == 401


async def test_the_local_issuer_is_refused_in_production(start: Any) -> None:
    with pytest.raises(SystemExit, match="local use"):
        await start(auth_issuer="kernel-local", env="production")
