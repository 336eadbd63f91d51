"""The built-in issuer of tokens, for local use: its key lies in the home, and whoever reads that file may be anyone."""

import time
from collections.abc import Iterable

from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from kernel_platform.home import Home, read_json, write_json

ISSUER = "kernel-local"
AUDIENCE = "kernel"
ROLES = ("viewer", "operator", "integrator", "designer", "admin")
ALGORITHM = "Ed25519"


def ensure_keys(home: Home) -> None:
    """Makes the signing key, once, and its public half beside it."""
    if home.issuer_file.exists() and home.jwks_file.exists():
        return
    keys = KeySet([OKPKey.generate_key("Ed25519", {"use": "sig", "alg": ALGORITHM}, auto_kid=True)])
    write_json(home.jwks_file, keys.as_dict(private=False))
    write_json(home.issuer_file, keys.as_dict(private=True), mode=0o600)


def mint(
    home: Home,
    roles: Iterable[str],
    *,
    operator: str | None = None,
    tenant: str = "main",
    ttl: float = 3600,
    subject: str | None = None,
) -> str:
    """A bearer token. `subject` is by default the operator, else the first role."""
    roles = list(roles)
    unknown = sorted(set(roles) - set(ROLES))
    if unknown or not roles:
        raise ValueError(f"no such role: {', '.join(unknown) or '(none given)'}; there are {', '.join(ROLES)}")
    ensure_keys(home)
    key = KeySet.import_key_set(read_json(home.issuer_file, None)).keys[0]
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject or operator or roles[0],
        "roles": roles,
        "tenant": tenant,
        "iat": now,
        "exp": now + int(ttl),
    }
    if operator is not None:
        claims["operator"] = operator
    return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, claims, key, algorithms=[ALGORITHM])
