"""The demo touches no cluster that it was not told to use."""

from pathlib import Path

import pytest
from demo.console import DemoError
from demo.target import another, refuse_another

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
    assert another("hospital").context == "hospital"
    with pytest.raises(DemoError, match="there is no context clinic; KUBECONFIG has: hospital"):
        another("clinic")
