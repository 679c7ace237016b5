"""The demo touches no cluster that it was not told to use."""

import json
from pathlib import Path

import pytest
from demo.__main__ import main
from demo.cluster import Cluster
from demo.console import DemoError
from demo.target import another, development, install, refuse_another

import devcluster

OURS = Path("/var/lib/wardrobe-devcluster/node/kubeconfig")


def test_a_kubeconfig_of_somebodys_own_needs_a_context() -> None:
    with pytest.raises(DemoError, match="CONTEXT=<name>"):
        refuse_another("/home/me/.kube/config", OURS)


def test_the_development_clusters_own_kubeconfig_may_be_set() -> None:
    refuse_another(str(OURS), OURS)
    refuse_another(None, OURS)


def test_an_unknown_context_is_refused_with_those_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    config.write_text("apiVersion: v1\nkind: Config\ncontexts: [{name: hospital, context: {cluster: c, user: u}}]\n")
    monkeypatch.setenv("KUBECONFIG", str(config))
    monkeypatch.setenv("PATH", f"{devcluster.kubectl_path().parent}:{devcluster.helm_path().parent}")
    assert another("hospital").context == "hospital"
    with pytest.raises(DemoError, match="there is no context clinic; KUBECONFIG has: hospital"):
        another("clinic")


def test_a_cluster_of_ones_own_is_asked_by_ones_own_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DemoError, match="no kubectl on PATH"):
        another("hospital")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--values", __file__], "name its --context"),
        (["--context", "hospital", "--values", "missing.yaml"], "there is no file /"),
    ],
)
def test_values_belong_to_a_context_and_are_a_file(
    arguments: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("demo.__main__.tell", lambda *_: pytest.fail("the story began"))
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert complaint in capsys.readouterr().err


def test_a_node_needs_root_which_is_said_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("demo.commands.output", lambda *_: pytest.fail("a build began"))
    with pytest.raises(DemoError, match="run as root, or on a cluster of your own"):
        development()


RUNNING = {"items": [{"metadata": {"name": "wardrobe-operator"}, "status": {"availableReplicas": 1}}]}


@pytest.fixture
def hospital(tmp_path: Path) -> Cluster:
    """A cluster where the operator runs, behind programs that write down how they are called."""
    for name in ("kubectl", "helm"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/{name}.log\necho '{json.dumps(RUNNING)}'\n")
        program.chmod(0o755)
    return Cluster(str(tmp_path / "kubectl"), str(tmp_path / "helm"), {}, context="hospital", reachable=False)


def test_an_operator_that_runs_stays_as_it_is_unless_values_are_named(hospital: Cluster, tmp_path: Path) -> None:
    install(hospital, None)
    assert not (tmp_path / "helm.log").exists()
    install(hospital, tmp_path / "values.yaml")
    called = (tmp_path / "helm.log").read_text()
    assert called.startswith("--kube-context hospital upgrade --install wardrobe")
    assert f"-f {tmp_path}/values.yaml" in called
    assert "rollout status" in (tmp_path / "kubectl.log").read_text()
