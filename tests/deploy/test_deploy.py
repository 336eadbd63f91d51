"""The deployment files say what the code says: environment, servers' settings, ports, images, users, no way around the policy."""

import base64
import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kernel_contracts.topics import TOPICS
from kernel_platform.databases import DATABASES
from kernel_platform.kafka import SETTINGS as KAFKA
from kernel_platform.postgres import SETTINGS as POSTGRES
from kernel_runtime.settings import ServiceSettings

ROOT = Path(__file__).resolve().parents[2]
SERVICES = tuple(DATABASES)
OURS_ALONE = {"KERNEL_KAFKA_REPLICATION", "KERNEL_DATABASE_PASSWORD"}
"""Read by scripts, not by a service."""

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def settings_of(service: str) -> type[ServiceSettings]:
    module = importlib.import_module(f"{service.replace('-', '_')}.settings")
    found: type[ServiceSettings] = module.Settings
    return found


def variables(service: str) -> set[str]:
    return {f"KERNEL_{name.upper()}" for name in settings_of(service).model_fields}


def required(service: str) -> set[str]:
    return {
        f"KERNEL_{name.upper()}" for name, field in settings_of(service).model_fields.items() if field.is_required()
    }


def rendered(folder: str) -> list[dict[str, Any]]:
    kubectl = Path(sys.executable).parent / "kubectl"
    done = subprocess.run([kubectl, "kustomize", ROOT / folder], check=True, capture_output=True, text=True)
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@pytest.fixture(scope="module")
def base() -> list[dict[str, Any]]:
    return rendered("deploy/k8s/base")


@pytest.fixture(scope="module")
def dev() -> list[dict[str, Any]]:
    return rendered("deploy/k8s/overlays/dev")


def of(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """The object of that name, or of that name with a hash behind it."""
    named = [each for each in objects if each["kind"] == kind]
    (found,) = [each for each in named if re.fullmatch(rf"{name}(-[a-z0-9]{{10}})?", each["metadata"]["name"])]
    return found


def workload(objects: list[dict[str, Any]], service: str) -> dict[str, Any]:
    return of(objects, "Deployment" if service == "gateway" else "StatefulSet", service)


def container_of(workload: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = workload["spec"]["template"]["spec"]["containers"][0]
    return container


def told(objects: list[dict[str, Any]], container: dict[str, Any]) -> set[str]:
    """The names of its environment, from the objects that it refers to; of secrets made elsewhere as the example has them."""
    examples = list(yaml.safe_load_all((ROOT / "deploy/k8s/secrets.example.yaml").read_text()))
    names = {each["name"] for each in container.get("env", [])}
    for source in container.get("envFrom", []):
        kind = "ConfigMap" if "configMapRef" in source else "Secret"
        name = next(iter(source.values()))["name"]
        there = [each for each in (*objects, *examples) if each["kind"] == kind and each["metadata"]["name"] == name]
        assert there, f"{kind} {name} is nowhere"
        names |= (there[0].get("data") or there[0].get("stringData")).keys()
    return names


@pytest.mark.parametrize("service", SERVICES)
def test_compose_tells_each_service_what_it_reads(service: str) -> None:
    given = set(COMPOSE["services"][service]["environment"])
    assert required(service) <= given <= variables(service)
    assert "KERNEL_INTERNAL_TOKEN" in given
    database = COMPOSE["services"][service]["environment"]["KERNEL_DATABASE_URL"]
    assert database.endswith(f"@postgres:5432/{DATABASES[service]}")
    assert f"//{DATABASES[service]}:" in database
    migrate = COMPOSE["services"][f"{service}-migrate"]
    assert migrate["command"] == ["migrate"]
    assert migrate["image"] == COMPOSE["services"][service]["image"]
    assert COMPOSE["services"][service]["depends_on"].keys() == {"kafka", "topics", f"{service}-migrate"}


def test_compose_runs_the_servers_with_the_settings_of_the_embedded_ones() -> None:
    words = COMPOSE["services"]["postgres"]["command"]
    given = dict(word.split("=", 1) for word in words if "=" in word)
    elsewhere = {"unix_socket_directories", "listen_addresses"}
    assert given == {name: value for name, value in POSTGRES.items() if name not in elsewhere}
    environment = COMPOSE["services"]["kafka"]["environment"]
    compare_kafka(environment)


def compare_kafka(environment: dict[str, Any]) -> None:
    for name, value in KAFKA.items():
        if name != "listener.security.protocol.map":
            assert str(environment["KAFKA_" + name.replace(".", "_").upper()]) == value, name
    cluster = re.sub(r"\$\{\w+:-(.*)\}", r"\1", environment["CLUSTER_ID"])
    assert len(base64.urlsafe_b64decode(cluster + "==")) == 16


def test_compose_publishes_to_this_machine_alone() -> None:
    for name, service in COMPOSE["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_images_are_pinned_and_come_from_no_private_place() -> None:
    texts = [ROOT / "docker-compose.yml", *(ROOT / "deploy").rglob("*")]
    for path in texts:
        if not path.is_file() or path.suffix in (".pyc",):
            continue
        for line in path.read_text().splitlines():
            image = re.match(r"\s*(?:image:|FROM)\s+(\S+)", line)
            if image is None:
                continue
            name = image[1]
            assert not name.endswith(":latest")
            assert ":" in name or name.startswith("kernel-"), f"{path}: {name}"
            assert "." not in name.split("/")[0].split(":")[0], f"{path}: {name} names a host"


def test_the_image_runs_as_an_ordinary_user_and_from_the_lock() -> None:
    text = (ROOT / "deploy/docker/Dockerfile").read_text()
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert text.count("--require-hashes") == 2
    assert "http://" not in text.replace("http://127.0.0.1", "")
    for name in re.findall(r"KERNEL_[A-Z_]+", text):
        assert name in variables("gateway")
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for each in source.replace("${SERVICE}", "process-svc").split():
            assert (ROOT / each).exists(), each


def test_each_image_gets_the_packages_it_declares() -> None:
    script = ROOT / "deploy/docker/packages.py"
    assert subprocess.run([sys.executable, script, "--check"], check=False).returncode == 0
    names = ROOT / "deploy/docker/packages/gateway.txt"
    chosen = subprocess.run(
        ["awk", "-f", ROOT / "deploy/docker/select.awk", names, ROOT / "requirements.lock"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert {line.split("==")[0] for line in chosen.splitlines() if "==" in line} == set(names.read_text().split())
    assert chosen.count("--hash=sha256:") >= len(names.read_text().split())


def test_the_topics_are_those_of_the_contracts(dev: list[dict[str, Any]]) -> None:
    text = (ROOT / "deploy/kafka/topics.sh").read_text()
    made = {words[1]: words[2:] for line in text.splitlines() if (words := line.split())[:1] == ["topic"]}
    wanted = {topic.name: [str(topic.partitions), *config(topic.config)] for topic in TOPICS}
    wanted |= {topic.dlq: ["1", *config(topic.dlq_config)] for topic in TOPICS if topic.dead_letters}
    assert made == wanted
    assert of(dev, "ConfigMap", "kafka-topics")["data"]["topics.sh"] == text
    assert "./deploy/kafka/topics.sh:/topics.sh:ro" in COMPOSE["services"]["topics"]["volumes"]


def config(settings: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in settings.items()]


def test_each_service_has_its_own_database(dev: list[dict[str, Any]]) -> None:
    text = (ROOT / "deploy/postgres/init.sh").read_text()
    (line,) = re.findall(r"for name in (.*); do", text)
    assert set(line.split()) == set(DATABASES.values())
    assert of(dev, "ConfigMap", "postgres-init")["data"]["init.sh"] == text


@pytest.mark.parametrize("overlay", ["base", "dev"])
@pytest.mark.parametrize("service", SERVICES)
def test_pods_are_told_what_they_read_and_may_do_nothing_else(
    service: str, overlay: str, base: list[dict[str, Any]], dev: list[dict[str, Any]]
) -> None:
    objects = {"base": base, "dev": dev}[overlay]
    found = workload(objects, service)
    pod = found["spec"]["template"]["spec"]
    container = container_of(found)
    assert required(service) <= told(objects, container) <= variables(service)
    assert "KERNEL_INTERNAL_TOKEN" in told(objects, container)
    assert "KERNEL_SERVICE_REPLICA" not in told(objects, container), "the pod's name tells replicas apart"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert {"requests", "limits"} <= container["resources"].keys()
    assert container["lifecycle"]["preStop"]
    assert pod["terminationGracePeriodSeconds"] > 3 + 5
    budget = of(objects, "PodDisruptionBudget", service)
    labels = found["spec"]["template"]["metadata"]["labels"]
    for selector in (budget["spec"]["selector"]["matchLabels"], of(objects, "Service", service)["spec"]["selector"]):
        assert selector.items() <= labels.items()
    job = container_of(of(objects, "Job", f"{service}-migrate"))
    assert job["image"] == container["image"]
    assert told(objects, job) <= variables(service)
    assert {"KERNEL_DATABASE_URL", "KERNEL_KAFKA_BOOTSTRAP"} <= told(objects, job)


def test_nothing_talks_that_is_not_allowed_to(base: list[dict[str, Any]]) -> None:
    denied = of(base, "NetworkPolicy", "deny-all")["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert {each["metadata"]["namespace"] for each in base if each["kind"] != "Namespace"} == {"kernel"}


def test_the_dev_overlay_is_marked_as_such(dev: list[dict[str, Any]], base: list[dict[str, Any]]) -> None:
    assert of(dev, "ConfigMap", "kernel")["data"]["KERNEL_ENV"] == "dev"
    assert of(base, "ConfigMap", "kernel")["data"]["KERNEL_ENV"] == "production"
    assert not [each for each in base if each["kind"] == "Secret"], "the base brings no secret of its own"
    environment = {each["name"]: each["value"] for each in container_of(of(dev, "StatefulSet", "kafka"))["env"]}
    compare_kafka(environment)


def test_no_variable_is_named_that_nobody_reads() -> None:
    known = set().union(*(variables(service) for service in SERVICES)) | OURS_ALONE
    for path in (ROOT / "deploy").rglob("*.yaml"):
        found = set(re.findall(r"\bKERNEL_[A-Z_]+", path.read_text()))
        assert found <= known, (path, found - known)
