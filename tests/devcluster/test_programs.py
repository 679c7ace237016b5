"""What decides the name of a cached build."""

import pytest

from devcluster import build


def test_fingerprint_depends_on_every_part() -> None:
    base = build.fingerprint({"go.mod": b"a", "go.sum": b"b"}, "go1.26.8", "-s")
    others = [
        build.fingerprint({"go.mod": b"a2", "go.sum": b"b"}, "go1.26.8", "-s"),
        build.fingerprint({"go.mod": b"a", "go.sum": b"b2"}, "go1.26.8", "-s"),
        build.fingerprint({"go.mod": b"a", "go.sum": b"b"}, "go1.27.0", "-s"),
        build.fingerprint({"go.mod": b"a", "go.sum": b"b"}, "go1.26.8", "-w"),
        build.fingerprint({"go.mod": b"ab", "go.sum": b""}, "go1.26.8", "-s"),
    ]
    assert base not in others
    assert len(set(others)) == len(others)


def test_fingerprint_ignores_order() -> None:
    assert build.fingerprint({"a": b"1", "b": b"2"}) == build.fingerprint({"b": b"2", "a": b"1"})


@pytest.mark.parametrize(
    ("text", "version"), [("go1.26.8", (1, 26)), ("go1.9", (1, 9)), ("go1.27rc1", (1, 27)), ("devel", (0, 0))]
)
def test_go_version_is_read_as_numbers(text: str, version: tuple[int, int]) -> None:
    assert build.parse_go_version(text) == version


@pytest.mark.parametrize("module", [*build.MODULES, build.KUEUE], ids=lambda module: module.name)
def test_modules_are_pinned_with_sums(module: build.Module) -> None:
    folder = build.source(module)
    assert "tool" in (folder / "go.mod").read_text()
    assert " h1:" in (folder / "go.sum").read_text()


def test_kubernetes_is_1_34_and_helm_4() -> None:
    assert "k8s.io/kubernetes v1.34." in (build.source(build.KUBERNETES) / "go.mod").read_text()
    assert "helm.sh/helm/v4 v4." in (build.source(build.HELM) / "go.mod").read_text()


def test_wardrobe_cache_is_the_only_place_when_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDROBE_CACHE", "/somewhere")
    assert [str(root) for root in build.cache_roots()] == ["/somewhere"]


def test_unknown_program() -> None:
    with pytest.raises(KeyError):
        build.program("docker")
