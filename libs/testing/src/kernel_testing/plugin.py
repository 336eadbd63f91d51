"""Fixtures on a real Postgres and a real Kafka; active wherever kernel-testing is installed, no import needed.

Both servers start at the first test that asks for them, once for the session (xdist workers share them), and stop at
its end. KERNEL_TEST_POSTGRES_URL (an admin DSN) and KERNEL_TEST_KAFKA_BOOTSTRAP name configured ones;
KERNEL_TEST_INFRA=testcontainers takes containers where an engine answers; else the embedded ones run.

session
    postgres_server     admin DSN of the server (database `postgres`)
    template_database   `await template_database("process_svc")` -> name of a database migrated by that service's own
                        `python -m process_svc migrate`, made once a session and never written to
    service_module      None; a service's conftest overrides it: return "process_svc" (scope="session")
    kafka               bootstrap servers
    declared_topics     frozenset of the names in kernel_contracts.topics.TOPICS and their -dlq, all made
test
    database            DSN of a fresh clone of `service_module`'s template (of an empty database where that is None);
                        its user owns the database and nothing else; dropped after the test
    new_database        `await new_database("rules_svc")` -> DSN, for tests that need more than one
    topics              `await topics("process-events")` -> a topic of this test alone, named topics.prefix + name and made
                        as declared (`partitions=1`, `config={...}` override); `await topics.create("anything", 3)` as well;
                        `topics.group("relay")` -> a consumer group id of this test alone
    fault_proxy         `proxy = await fault_proxy(host, port)`, then connect to proxy.host, proxy.port:
                        .latency = 0.2 · .blackhole = True · await proxy.reset() (drops live connections with RST) ·
                        .refuse = True (new connections) · .cut_after(n, direction="up"|"down") ·
                        .cut_at(b"COMMIT", direction="up", forward=True): forward what holds the pattern, then drop both
                        sides (forward=False drops before it gets through) · .cuts counts what fired · .heal() ends it all

from kernel_testing import eventually, eventually_sync
    `await eventually(fn, timeout=10, interval=0.02)` calls fn (sync or async) until it returns something truthy, which is
    the result; AssertionError counts as not yet, any other exception is raised at once. On time-out the last
    AssertionError is raised, or AssertionError naming the last result. An fn made of asserts ends with `return True`.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from kernel_platform.topics import declared, ensure_topics

from kernel_testing import databases, infra
from kernel_testing.faults import FaultProxy
from kernel_testing.topics import TestTopics

TemplateDatabase = Callable[[str | None], Awaitable[str]]
NewDatabase = Callable[[str | None], Awaitable[str]]
MakeProxy = Callable[[str, int], Awaitable[FaultProxy]]


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    if not _is_worker(config):
        infra.open_session()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _is_worker(config):
        configured = os.environ.get("KERNEL_TEST_POSTGRES_URL")
        if configured:
            asyncio.run(databases.drop_templates(configured))
        infra.close_session()


@pytest.fixture(scope="session")
def postgres_server() -> str:
    return infra.address_of("postgres")


@pytest.fixture(scope="session")
def kafka() -> str:
    return infra.address_of("kafka")


@pytest.fixture(scope="session")
def declared_topics(kafka: str) -> frozenset[str]:
    with infra.locked("declared-topics"):
        ensure_topics(kafka, declared())
    return frozenset(topic.name for topic in declared())


@pytest.fixture(scope="session")
def service_module() -> str | None:
    return None


@pytest.fixture(scope="session")
def template_database(postgres_server: str) -> TemplateDatabase:
    async def make(module: str | None) -> str:
        return await databases.make_template(postgres_server, module)

    return make


@pytest_asyncio.fixture
async def new_database(postgres_server: str, template_database: TemplateDatabase) -> AsyncIterator[NewDatabase]:
    made: list[str] = []

    async def make(module: str | None = None) -> str:
        dsn = await databases.clone(postgres_server, await template_database(module), module)
        made.append(urlsplit(dsn).path.removeprefix("/"))
        return dsn

    yield make
    for name in made:
        await databases.drop(postgres_server, name)


@pytest_asyncio.fixture
async def database(new_database: NewDatabase, service_module: str | None) -> str:
    return await new_database(service_module)


@pytest_asyncio.fixture
async def topics(kafka: str) -> AsyncIterator[TestTopics]:
    own = TestTopics(kafka)
    yield own
    await own.remove()


@pytest_asyncio.fixture
async def fault_proxy() -> AsyncIterator[MakeProxy]:
    made: list[FaultProxy] = []

    async def make(host: str, port: int) -> FaultProxy:
        made.append(await FaultProxy(host, port).start())
        return made[-1]

    yield make
    for proxy in made:
        await proxy.close()
