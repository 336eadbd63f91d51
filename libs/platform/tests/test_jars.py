"""The download against a real HTTP server: parallel, resumed, verified."""

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from kernel_platform import jars
from kernel_platform.jars import Jar

BODIES = {f"org/example/part{n}/1.0/part{n}-1.0.jar": bytes([n]) * 300_000 for n in range(4)}
JARS = [
    Jar("org.example", f"part{n}", "1.0", hashlib.sha256(body).hexdigest(), len(body))
    for n, body in enumerate(BODIES.values())
]


@dataclass
class Repository:
    url: str = ""
    cut_at: int | None = None
    """The first answers end after so many bytes."""
    spoilt: bool = False
    ranges: list[str] = field(default_factory=list)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    state = Repository()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = BODIES[self.path.lstrip("/")]
            if state.spoilt:
                body = b"x" * len(body)
            start = 0
            if wanted := self.headers.get("Range"):
                state.ranges.append(wanted)
                start = int(re.findall(r"\d+", wanted)[0])
                if start >= len(body):
                    self.send_response(416)
                    self.end_headers()
                    return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start : state.cut_at if start == 0 else None])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("KERNEL_MAVEN_REPO", state.url + "/")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jars, "locked", lambda: JARS)
    yield state
    server.shutdown()


def test_all_are_fetched_once(repository: Repository) -> None:
    seen: list[tuple[int, int]] = []
    paths = jars.fetch(lambda there, total: seen.append((there, total)))
    assert [path.read_bytes() for path in paths] == list(BODIES.values())
    assert seen[-1] == (1_200_000, 1_200_000)
    repository.spoilt = True
    assert jars.fetch() == paths


def test_a_cut_download_goes_on_where_it_stopped(repository: Repository) -> None:
    repository.cut_at = 100_000
    assert [path.read_bytes() for path in jars.fetch()] == list(BODIES.values())
    assert repository.ranges == ["bytes=100000-"] * 4


def test_what_has_another_hash_is_never_kept(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.spoilt = True
    monkeypatch.setattr(jars, "ATTEMPTS", 2)
    with pytest.raises(RuntimeError, match="sha256"):
        jars.fetch()
    assert not list(jars.cache_folder().rglob("*.jar"))


def test_the_users_maven_mirror_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KERNEL_MAVEN_REPO", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert jars.repository() == jars.CENTRAL
    (tmp_path / ".m2").mkdir()
    (tmp_path / ".m2" / "settings.xml").write_text(
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0"><mirrors><mirror><id>m</id>'
        "<mirrorOf>central</mirrorOf><url>http://mirror.example/maven/</url></mirror></mirrors></settings>"
    )
    assert jars.repository() == "http://mirror.example/maven"
    monkeypatch.setenv("KERNEL_MAVEN_REPO", "http://named.example")
    assert jars.repository() == "http://named.example"


def test_the_lock_names_kafka_and_its_logging() -> None:
    jars_by_name = {jar.artifact: jar for jar in jars.locked()}
    assert {"kafka_2.13", "kafka-clients", "log4j-slf4j-impl"} <= set(jars_by_name)
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in jars_by_name.values())
