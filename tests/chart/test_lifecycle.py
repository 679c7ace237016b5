"""Install, upgrade, uninstall by real Helm on a real apiserver; no operator runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import cluster, resources
from support.cluster import Namespace
from support.helm import CHART, EVERYTHING, IMAGES, NAMESPACE, Helm
from support.waiting import eventually

from devcluster import controlplane
from devcluster.console import DevclusterError
from devcluster.controlplane import ControlPlane

pytestmark = [pytest.mark.chart, pytest.mark.controlplane]

OURS = ("deployment", "serviceaccount", "clusterrole", "clusterrolebinding", "rolebinding")
POLICIES = ("validatingadmissionpolicy", "validatingadmissionpolicybinding")
MONITORING = Path(__file__).with_name("monitoring-kinds.yaml")


def there(plane: ControlPlane, kind: str, name: str) -> bool:
    found = plane.run("get", kind, name, f"--namespace={NAMESPACE}", "--ignore-not-found", "--output=name")
    return bool(found.strip())


def kinds(plane: ControlPlane) -> list[str]:
    listed = json.loads(plane.run("get", "crd", "--output=json"))["items"]
    return sorted(crd["spec"]["names"]["kind"] for crd in listed if crd["spec"]["group"] == "wardrobe.dev")


def described(plane: ControlPlane, kind: str) -> str:
    """Of the status of a kind, as it is served."""
    crd = json.loads(plane.run("get", "crd", kind, "--output=json"))
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    text: str = schema["properties"]["status"]["description"]
    return text


def older(folder: Path) -> Path:
    """A release before this one: one kind reads otherwise, and there is no policy yet."""
    chart = folder / "older"
    shutil.copytree(CHART, chart)
    for policies in ("adapter-in-use.yaml", "children.yaml"):
        (chart / "templates" / policies).unlink()
    text = (chart / "files" / "crds" / "adapters.yaml").read_text()
    kind = yaml.safe_load(text)
    kind["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["description"] = "Older."
    (chart / "files" / "crds" / "adapters.yaml").write_text(yaml.safe_dump(kind))
    return chart


def test_a_life(plane: ControlPlane, helm: Helm, tmp_path: Path) -> None:
    """What was there before an upgrade, an uninstall and an install is there afterwards, by its uid."""
    helm.install(IMAGES, chart=older(tmp_path))
    plane.run("wait", "crd", "--all", "--for=condition=Established", "--timeout=300s")
    assert described(plane, "adapters.wardrobe.dev") == "Older."
    namespace = Namespace(cluster.connect(plane.kubeconfig), cluster.unique("life")).create()
    base = namespace.apply(resources.base_model())["metadata"]["uid"]

    notes = helm.install(IMAGES)
    assert "kubectl --namespace wardrobe rollout status deployment/wardrobe-operator" in notes
    assert described(plane, "adapters.wardrobe.dev") != "Older."
    assert all(there(plane, kind, "wardrobe-adapter-in-use") for kind in POLICIES)

    kept = helm.uninstall()
    assert "adapterdeployments.wardrobe.dev" in kept
    assert not any(there(plane, kind, "wardrobe-operator") for kind in OURS)
    assert not any(there(plane, kind, "wardrobe-adapter-in-use") for kind in POLICIES)
    assert kinds(plane) == ["Adapter", "AdapterDeployment", "BaseModel", "FineTuneJob"]
    assert (namespace.get("BaseModel", "base") or {})["metadata"]["uid"] == base

    helm.install(IMAGES)
    assert there(plane, "deployment", "wardrobe-operator")
    assert (namespace.get("BaseModel", "base") or {})["metadata"]["uid"] == base


def test_a_restricted_namespace_takes_the_operators_pod(installed: ControlPlane) -> None:
    """The namespace of the release refuses all others."""

    def pods() -> str:
        options = (f"--namespace={NAMESPACE}", "--selector=app.kubernetes.io/name=wardrobe-operator")
        return installed.run("get", "pods", *options, "--output=name")

    def events() -> str:
        return installed.run("get", "events", f"--namespace={NAMESPACE}")

    eventually(pods, what=events)


def test_the_apiserver_takes_every_manifest(installed: ControlPlane, helm: Helm) -> None:
    """Unknown fields are errors here; Helm itself only warns of them."""
    installed.run("apply", "--server-side", f"--filename={MONITORING}")
    installed.run("wait", "crd", "--all", "--for=condition=Established", "--timeout=300s")
    manifests = helm.template(*EVERYTHING)
    together = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    options = ("--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "--output=name")
    taken = installed.run("apply", *options, "--filename=-", stdin=together)
    assert len(taken.splitlines()) == len(manifests)
    helm.install(*EVERYTHING)
    assert there(installed, "podmonitor", "wardrobe-serving")


def test_kinds_that_were_applied_by_hand_are_taken_over_on_request(repository: Path, tmp_path: Path) -> None:
    with controlplane.start() as plane:
        plane.run("apply", f"--filename={repository / 'crds'}")
        helm = Helm(tmp_path, plane.kubeconfig)
        where = ("--namespace=default", f"--set={IMAGES}")
        helm.run("install", "wardrobe", str(CHART), *where, "--take-ownership", "--force-conflicts")
        helm.run("uninstall", "wardrobe", "--namespace=default")
        assert len(kinds(plane)) == 4


@pytest.mark.parametrize(
    "name",
    ["wardrobe-adapter-in-use", "wardrobe-children", "wardrobe-pods", "wardrobe-templates", "wardrobe-cronjobs"],
)
def test_a_policy_knows_its_kinds(installed: ControlPlane, name: str) -> None:
    """The apiserver has compared the expressions with the kinds' schemas, and warns of nothing."""

    def status() -> dict[str, Any]:
        policy = json.loads(installed.run("get", "validatingadmissionpolicy", name, "--output=json"))
        found: dict[str, Any] = policy.get("status", {})
        return found if found.get("observedGeneration") == policy["metadata"]["generation"] else {}

    checked = eventually(status, what="the policy checked")
    assert checked["typeChecking"].get("expressionWarnings", []) == []


def delete(plane: ControlPlane, namespace: Namespace, *options: str) -> str:
    """What kubectl says: the refusal, or what is gone."""
    try:
        return plane.run("delete", "adapter", "cardiology-v1", f"--namespace={namespace.name}", *options)
    except DevclusterError as error:
        return str(error)


def use(plane: ControlPlane, namespace: Namespace, *deployments: str) -> None:
    patch = json.dumps({"status": {"usedBy": list(deployments)}})
    where = ("--subresource=status", f"--namespace={namespace.name}")
    plane.run("patch", "adapter", "cardiology-v1", *where, "--type=merge", f"--patch={patch}")


@pytest.fixture
def ward(installed: ControlPlane, repository: Path) -> Namespace:
    """A namespace with one Adapter, where the policy is in force."""
    made = Namespace(cluster.connect(installed.kubeconfig), cluster.unique("ward")).create()
    adapter = yaml.safe_load((repository / "examples" / "adapters" / "as-made.yaml").read_text())
    made.apply({**adapter, "metadata": {"name": "cardiology-v1"}})
    use(installed, made, "tantanila")
    eventually(lambda: "forbidden" in delete(installed, made, "--dry-run=server"), what="the policy")
    return made


def test_an_adapter_in_use_stays_and_it_is_said_who_uses_it(installed: ControlPlane, ward: Namespace) -> None:
    use(installed, ward, "tantanila", "night-shift")
    said = delete(installed, ward)
    assert "Adapter cardiology-v1 is in use by AdapterDeployment tantanila, night-shift" in said
    assert f"kubectl edit adp tantanila --namespace {ward.name}" in said
    assert ward.get("Adapter", "cardiology-v1")


def test_an_adapter_that_nobody_uses_any_more_can_go(installed: ControlPlane, ward: Namespace) -> None:
    use(installed, ward)
    assert "deleted" in delete(installed, ward)
    assert ward.get("Adapter", "cardiology-v1") is None


def test_an_adapter_without_a_status_can_go(installed: ControlPlane, ward: Namespace) -> None:
    ward.wipe_status("Adapter", "cardiology-v1")
    assert "deleted" in delete(installed, ward)


def test_a_namespace_goes_with_adapters_in_use(installed: ControlPlane, ward: Namespace) -> None:
    installed.run("delete", "namespace", ward.name, "--timeout=300s")
