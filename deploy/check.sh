#!/usr/bin/env bash
# Everything about the deployment files that can be checked without a container engine and without a cluster.
set -euo pipefail
cd "$(dirname "$0")/.."
bin="${KERNEL_BIN:-.venv/bin}"
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT

echo "  what is made from the code is up to date"
"$bin/python" deploy/docker/packages.py --check
"$bin/python" deploy/kafka/topics.py --check
"$bin/python" -m kernel_contracts.schemas --check
"$bin/python" -m kernel_contracts.asyncapi --check
"$bin/python" -m kernel_contracts.compatibility

echo "  shell scripts parse"
for script in deploy/kafka/topics.sh deploy/postgres/init.sh deploy/check.sh; do bash -n "$script"; done

echo "  docker-compose.yml"
"$bin/check-jsonschema" --quiet --builtin-schema vendor.compose-spec docker-compose.yml

for folder in deploy/k8s/base deploy/k8s/overlays/dev; do
    echo "  $folder"
    "$bin/kubectl" kustomize "$folder" > "$out/all.yaml"
    "$bin/kubernetes-validate" --strict --quiet "$out/all.yaml"
done
"$bin/kubernetes-validate" --strict --quiet deploy/k8s/secrets.example.yaml

echo "  names, settings and topics are those of the code"
"$bin/python" -m pytest -q --no-header -p no:cacheprovider tests/deploy
