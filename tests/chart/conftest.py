"""A control plane that keeps an audit log, and the chart installed on it by real Helm."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.audit import Audit
from support.helm import IMAGES, NAMESPACE, OPERATOR, Helm
from support.waiting import eventually

from devcluster import controlplane
from devcluster.controlplane import ControlPlane
from wardrobe.api.meta import API_VERSION

STRICTEST = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"
"""As on OpenShift: who makes an owner's deletion wait for a child needs a right to the owner."""
OWNERS = ("BaseModel", "FineTuneJob", "Adapter", "AdapterDeployment")


@pytest.fixture(scope="session")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    return Audit(tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="session")
def plane(audit: Audit) -> Iterator[ControlPlane]:
    """Nothing of ours on it but a restricted namespace for the release."""
    options = (*audit.options(), STRICTEST)
    with controlplane.start(controller_manager=True, apiserver_options=options) as plane:
        plane.run("create", "namespace", NAMESPACE)
        plane.run("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        yield plane


@pytest.fixture(scope="session")
def helm(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"), plane.kubeconfig)


@pytest.fixture
def installed(helm: Helm, plane: ControlPlane) -> ControlPlane:
    """The chart with its default values, whatever the test before left."""
    helm.install(IMAGES)
    plane.run("wait", "crd", "--all", "--for=condition=Established", "--timeout=300s")
    eventually(lambda: owners_known(plane), what="STRICTEST has learnt of our kinds", every=1)
    return plane


def owners_known(plane: ControlPlane) -> bool:
    """Whether our kinds can be owners by now: the admission plugin looks for new kinds every 30 seconds."""
    owners = [
        {"apiVersion": API_VERSION, "kind": kind, "name": "x", "uid": "x", "blockOwnerDeletion": True}
        for kind in OWNERS
    ]
    child = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "child", "ownerReferences": owners}}
    options = ("--filename=-", "--dry-run=server", "--output=name", f"--as={OPERATOR}")
    return bool(plane.run("create", *options, stdin=json.dumps(child), check=False))


@pytest.fixture(scope="session")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    return Helm(tmp_path_factory.mktemp("offline"))


@pytest.fixture
def repository() -> Path:
    return Path(__file__).parents[2]
