"""Real Helm with the chart, and what it renders."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from devcluster import helm_path

CHART = Path(__file__).parents[2] / "charts" / "wardrobe"
RELEASE = "wardrobe"
NAMESPACE = "wardrobe"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:wardrobe-operator"
"""Who the operator is to the apiserver."""
IMAGES = "images.registry=registry.example/wardrobe"
"""The one value without which nothing is rendered."""
EVERYTHING = (
    IMAGES,
    "imagePullSecrets[0].name=pull",
    "namespaces={default,kube-public}",
    "admission.trustedUsers={system:serviceaccount:backup:velero}",
    "operator.logLevel=debug",
    "operator.nodeSelector.disk=ssd",
    "operator.tolerations[0].key=gpu",
    "operator.tolerations[0].operator=Exists",
    "monitoring.serviceMonitor.enabled=true",
    "monitoring.serviceMonitor.labels.release=prometheus",
    "monitoring.podMonitor.enabled=true",
)
"""A value for everything that is off or empty by default."""

Manifest = dict[str, Any]


class HelmError(Exception):
    """What Helm says when it refuses."""


@dataclass(frozen=True)
class Helm:
    """Helm with files of its own, and a cluster where one is given."""

    home: Path
    kubeconfig: Path | None = None

    def run(self, *arguments: str) -> str:
        """Its output. Raises HelmError."""
        homes = {f"HELM_{kind}_HOME": str(self.home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        environment = {**os.environ, **homes, "KUBECONFIG": str(self.kubeconfig or os.devnull)}
        command = [str(helm_path()), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise HelmError(done.stderr)
        return done.stdout

    def template(self, *values: str, chart: Path = CHART) -> list[Manifest]:
        """What the chart renders with these values."""
        rendered = self.run("template", RELEASE, str(chart), f"--namespace={NAMESPACE}", *_set(values))
        return [document for document in yaml.safe_load_all(rendered) if document]

    def install(self, *values: str, chart: Path = CHART, options: tuple[str, ...] = ()) -> str:
        """Install the chart, or upgrade it to these values; what Helm then says. Waits for no pods unless told."""
        where = (f"--namespace={NAMESPACE}", "--create-namespace")
        return self.run("upgrade", "--install", RELEASE, str(chart), *where, *options, *_set(values))

    def uninstall(self) -> str:
        """Take the release away."""
        return self.run("uninstall", RELEASE, f"--namespace={NAMESPACE}")


def _set(values: tuple[str, ...]) -> list[str]:
    return [f"--set={value}" for value in values]


def one(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The only one of a kind, or of a kind and name."""
    (found,) = (m for m in manifests if m["kind"] == kind and name in {None, m["metadata"]["name"]})
    return found


def operator_container(manifests: list[Manifest]) -> Manifest:
    """The operator's container."""
    (container,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    found: Manifest = container
    return found
