"""Who may make runs may not have a Secret read that they may not read themselves."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support import cluster, resources
from support.cluster import Namespace
from support.helm import Helm
from support.waiting import eventually

from devcluster.console import DevclusterError
from devcluster.controlplane import ControlPlane

pytestmark = [pytest.mark.chart, pytest.mark.controlplane]

SOURCE = "s3://hospital/cardiology.jsonl"
MAKER = "--as=maker"


@pytest.fixture
def ward(helm: Helm, installed: ControlPlane) -> Iterator[Namespace]:
    """A namespace where somebody may make runs and read one of two Secrets."""
    made = Namespace(cluster.connect(installed.kubeconfig), cluster.unique("secrets")).create()
    where = f"--namespace={made.name}"
    installed.run("create", "role", "maker", where, "--verb=create", "--resource=finetunejobs.wardrobe.dev")
    installed.run("create", "rolebinding", "maker", where, "--role=maker", "--user=maker")
    read = ("--verb=get", "--resource=secrets", "--resource-name=own")
    installed.run("create", "role", "reader", where, *read)
    installed.run("create", "rolebinding", "reader", where, "--role=reader", "--user=maker")
    eventually(lambda: "may not read" in make(installed, made, "foreign"), what="the policy")
    yield made
    installed.run("delete", "namespace", made.name, "--wait=false")


def make(
    plane: ControlPlane,
    ward: Namespace,
    secret: str | None,
    *,
    adapters: str | None = None,
    tracking: str | None = None,
) -> str:
    """What is said to who makes a run with these credentials, or that it would be made."""
    dataset = {"source": SOURCE} | ({"credentials": {"secretName": secret}} if secret else {})
    adapter = {"source": "s3://hospital/renal", "credentials": {"secretName": adapters}}
    server = {"uri": "http://mlflow:5000", "experiment": "heart", "credentials": {"secretName": tracking}}
    more: dict[str, Any] = {"method": "Import", "adapter": adapter} if adapters else {}
    more |= {"tracking": {"mlflow": server}} if tracking else {}
    run = resources.run("heart", dataset=dataset, **more)
    where = (f"--namespace={ward.name}", "--filename=-", "--dry-run=server")
    try:
        return plane.run("create", *where, MAKER, stdin=json.dumps(run))
    except DevclusterError as error:
        return str(error)


def test_only_who_may_read_a_secret_may_name_it(installed: ControlPlane, ward: Namespace) -> None:
    said = make(installed, ward, "foreign")
    assert "spec.dataset.credentials.secretName is foreign, which maker may not read" in said
    assert "verb get on this Secret" in said
    assert "created" in make(installed, ward, "own")
    assert "created" in make(installed, ward, None)


def test_the_adapters_secret_is_looked_at_like_the_datasets(installed: ControlPlane, ward: Namespace) -> None:
    said = make(installed, ward, "own", adapters="foreign")
    assert "spec.adapter.credentials.secretName is foreign, which maker may not read" in said
    assert "spec.dataset.credentials.secretName is foreign" in make(installed, ward, "foreign", adapters="own")
    assert "created" in make(installed, ward, "own", adapters="own")
    assert "created" in make(installed, ward, None, adapters="own")


def test_the_same_holds_for_the_secret_by_which_a_run_is_tracked(installed: ControlPlane, ward: Namespace) -> None:
    said = make(installed, ward, None, tracking="foreign")
    assert "spec.tracking.mlflow.credentials.secretName is foreign, which maker may not read" in said
    assert "created" in make(installed, ward, None, tracking="own")
    assert "created" in make(installed, ward, "own", tracking="own")
