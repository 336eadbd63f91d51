"""Bearer tokens: signed JWTs of one issuer for one audience, with algorithms fixed here and not by the token.

What was verified is kept until it expires, so that a request costs a dictionary lookup and not a signature.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode
from kernel_runtime.problem import Problem, ProblemError, unavailable

from gateway.auth.keys import KEY_TYPES, Keys, KeysAwayError
from gateway.auth.principal import ClaimError, Principal, principal_of

LEEWAY = 60
"""Seconds that clocks may differ."""
CACHE = 10_000
LONGEST = 8_192
ALGORITHMS = list(KEY_TYPES)


class Tokens:
    def __init__(
        self,
        keys: Keys,
        issuer: str,
        audience: str,
        *,
        default_tenant: str = "main",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._claims: dict[str, Any] = {
            "iss": {"essential": True, "value": issuer},
            "aud": {"essential": True, "value": audience},
            "exp": {"essential": True},
            "sub": {"essential": True},
        }
        self._default_tenant = default_tenant
        self._clock = clock
        self._known: OrderedDict[str, Principal] = OrderedDict()
        self._generation = 0

    async def authenticate(self, headers: Mapping[bytes, bytes]) -> Principal:
        """The caller that the Authorization header names; raises ProblemError (401, or 503 while there are no keys)."""
        given = headers.get(b"authorization")
        if given is None:
            raise ProblemError(unauthorized("Send a token: `Authorization: Bearer ...`.", error=None))
        scheme, _, token = given.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            raise ProblemError(unauthorized("Only bearer tokens are accepted."))
        return await self.verify(token.strip())

    async def verify(self, token: str) -> Principal:
        if self._generation != self._keys.generation:
            self._known.clear()
            self._generation = self._keys.generation
        known = self._known.get(token)
        if known is not None and known.expires + LEEWAY > self._clock():
            return known
        principal = await self._verify(token)
        self._known[token] = principal
        while len(self._known) > CACHE:
            self._known.popitem(last=False)
        return principal

    async def _verify(self, token: str) -> Principal:
        if len(token) > LONGEST:
            raise ProblemError(unauthorized(f"A token may have {LONGEST:,} characters at most."))
        header = _header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in KEY_TYPES or "crit" in header or not (kid is None or isinstance(kid, str)):
            raise ProblemError(unauthorized(f"The token must be signed with one of {', '.join(ALGORITHMS)}."))
        try:
            keys = await self._keys.matching(algorithm, kid)
        except KeysAwayError:
            raise ProblemError(unavailable("The keys of the token issuer can't be read now. Try again.")) from None
        registry = jwt.JWTClaimsRegistry(now=int(self._clock()), leeway=LEEWAY, **self._claims)
        for key in keys:
            try:
                claims = jwt.decode(token, key, algorithms=[algorithm]).claims  # type: ignore[arg-type]
            except (JoseError, ValueError, TypeError):
                continue
            try:
                registry.validate(claims)
                return principal_of(claims, self._default_tenant)
            except (JoseError, ClaimError, ValueError, TypeError, OverflowError) as error:
                raise ProblemError(unauthorized(f"The token is not valid here: {error}")) from None
        raise ProblemError(unauthorized("No key of the issuer verifies the token's signature."))


def _header(token: str) -> dict[str, Any]:
    try:
        header = orjson.loads(urlsafe_b64decode(token.split(".", 1)[0].encode("ascii")))
    except ValueError:
        header = None
    if not isinstance(header, dict) or token.count(".") != 2:
        raise ProblemError(unauthorized("The token is not a signed JWT."))
    return header


def unauthorized(detail: str, error: str | None = "invalid_token") -> Problem:
    challenge = 'Bearer realm="kernel"' + (f', error="{error}"' if error else "")
    return Problem(401, "Unauthorized", detail, headers={"www-authenticate": challenge})
