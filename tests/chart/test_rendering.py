"""What Helm renders, without a cluster."""

import json
import re
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import golden
from support.helm import CHART, EVERYTHING, IMAGES, Helm, HelmError, one, operator_container

from wardrobe.__main__ import Options
from wardrobe_contracts.engines import EngineType

pytestmark = pytest.mark.chart

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
DIGEST = "sha256:" + "a" * 64


def objects(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if schema.get("type") == "object":
        yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from objects(f"{path}.{name}", child)
    if "items" in schema:
        yield from objects(f"{path}[]", schema["items"])


def test_lint_is_strict_and_silent(offline: Helm) -> None:
    said = offline.run("lint", "--strict", str(CHART), *(f"--set={value}" for value in EVERYTHING))
    complaints = [line for line in said.splitlines() if line.startswith("[") and "icon is recommended" not in line]
    assert complaints == []


def test_without_images_it_says_what_to_set(offline: Helm) -> None:
    with pytest.raises(HelmError, match=r"images\.registry is not set.*--set images\.registry="):
        offline.template()


@pytest.mark.parametrize(
    ("typo", "wrong"),
    [
        ("namespace=ward", "namespace"),
        ("image.registry=x", "image"),
        ("images.registri=x", "registri"),
        ("images.tags=x", "tags"),
        ("images.operator.digset=x", "digset"),
        ("images.trainer.pullPolicy=Always", "pullPolicy"),
        ("images.launcher.tag=x", "launcher"),
        ("imagePullSecrets[0].nam=x", "nam"),
        ("store.userID=1000", "userID"),
        ("operator.loglevel=debug", "loglevel"),
        ("operator.resources.request.cpu=1", "request"),
        ("operator.tolerations[0].efect=NoSchedule", "efect"),
        ("monitoring.serviceMonitor.enable=true", "enable"),
        ("monitoring.podmonitor.enabled=true", "podmonitor"),
    ],
)
def test_a_typo_is_refused_by_name(offline: Helm, typo: str, wrong: str) -> None:
    with pytest.raises(HelmError, match=f"additional properties '{wrong}' not allowed"):
        offline.template(IMAGES, typo)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ("images.registry=registry.example/", "/images/registry"),
        ("images.tag=a/b", "/images/tag"),
        ("images.engines.Transformers.digest=sha256:12", "/images/engines/Transformers/digest"),
        ("images.operator.pullPolicy=Sometimes", "/images/operator/pullPolicy"),
        ("namespaces={Ward}", "/namespaces/0"),
        ("namespaces={a,a}", "/namespaces"),
        ("store.userId=0", "/store/userId"),
        ("store.userId=me", "/store/userId"),
        ("operator.logLevel=loud", "/operator/logLevel"),
        ("operator.resources.limits.memory=much", "/operator/resources/limits/memory"),
        ("operator.tolerations[0].effect=Never", "/operator/tolerations/0/effect"),
        ("monitoring.podMonitor.interval=15", "/monitoring/podMonitor/interval"),
        ("monitoring.podMonitor.enabled=no thanks", "/monitoring/podMonitor/enabled"),
    ],
)
def test_a_value_that_cannot_be_is_refused_where_it_stands(offline: Helm, value: str, where: str) -> None:
    with pytest.raises(HelmError, match=f"at '{where}'"):
        offline.template(IMAGES, value)


@pytest.mark.parametrize(("path", "schema"), list(objects("values", SCHEMA)), ids=lambda value: str(value)[:60])
def test_schema_is_closed_and_described(path: str, schema: dict[str, Any]) -> None:
    assert schema.get("description")
    if path == "values.global":
        return  # Helm's own
    assert schema.get("additionalProperties") is False or "properties" not in schema
    assert "additionalProperties" in schema


def test_every_setting_stands_in_values_yaml() -> None:
    def names(path: str, schema: dict[str, Any]) -> Iterator[str]:
        for name, child in schema.get("properties", {}).items():
            yield f"{path}{name}"
            yield from names(f"{path}{name}.", child)

    def written(path: str, values: dict[str, Any]) -> Iterator[str]:
        for name, child in values.items():
            yield f"{path}{name}"
            yield from written(f"{path}{name}.", child if isinstance(child, dict) else {})

    assert set(names("", SCHEMA)) - {"global"} <= set(written("", VALUES))


def test_it_can_be_another_charts_dependency(offline: Helm, tmp_path: Path) -> None:
    """Helm then adds `global` to its values."""
    dependency = {"name": "wardrobe", "version": "0.1.0", "repository": CHART.as_uri()}
    parent = {"apiVersion": "v2", "name": "ward", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(parent))
    offline.run("dependency", "update", str(tmp_path))
    assert one(offline.template(f"wardrobe.{IMAGES}", chart=tmp_path), "Deployment")


def test_images_come_from_one_registry_or_one_by_one(offline: Helm) -> None:
    def images(*values: str) -> list[str]:
        container = operator_container(offline.template(*values))
        given = Options.parse(container["args"])
        ours = (given.engine_image[engine] for engine in (EngineType.TRANSFORMERS, EngineType.TGI))
        return [container["image"], given.trainer_image, given.gateway_image, *ours]

    parts = ("operator", "trainer", "gateway", "engine", "tgi")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert images("images.registry=r:5000/w") == [f"r:5000/w/wardrobe-{part}:{version}" for part in parts]
    assert images("images.registry=r", "images.tag=dev") == [f"r/wardrobe-{part}:dev" for part in parts]
    single = (
        *("images.trainer.repository=mine/t", "images.gateway.tag=v2"),
        f"images.engines.Transformers.digest={DIGEST}",
    )
    assert images("images.registry=r", "images.tag=dev", *single) == [
        "r/wardrobe-operator:dev",
        "mine/t:dev",
        "r/wardrobe-gateway:v2",
        f"r/wardrobe-engine@{DIGEST}",
        "r/wardrobe-tgi:dev",
    ]


def test_there_is_an_image_for_each_engine_and_for_nothing_else() -> None:
    engines = {engine.value for engine in EngineType}
    assert set(VALUES["images"]["engines"]) == engines
    schema = SCHEMA["properties"]["images"]["properties"]["engines"]
    assert set(schema["propertyNames"]["enum"]) == engines


def test_vllms_image_is_its_own_projects_until_said_otherwise(offline: Helm) -> None:
    def image(*values: str) -> str:
        return Options.parse(operator_container(offline.template(IMAGES, *values))["args"]).engine_image[
            EngineType.VLLM
        ]

    assert image("images.tag=dev") == "docker.io/vllm/vllm-openai:v0.32.0"
    assert image("images.engines.VLLM.repository=r/vllm", "images.engines.VLLM.tag=v1") == "r/vllm:v1"


def test_engines_without_an_image_are_left_out(offline: Helm) -> None:
    """As an upgrade with the values of a release that had none of them does."""
    rendered = offline.template(IMAGES, "images.engines.TGI=null", "images.engines.VLLM=null")
    assert set(Options.parse(operator_container(rendered)["args"]).engine_image) == {EngineType.TRANSFORMERS}


def test_the_operators_own_parser_takes_its_arguments(offline: Helm) -> None:
    given = Options.parse(operator_container(offline.template(*EVERYTHING, "store.userId=2000"))["args"])
    assert given.namespaces == "default,kube-public"
    assert given.log_level == "debug"
    assert given.user_id == 2000
    assert Options.parse(operator_container(offline.template(IMAGES))["args"]).namespaces is None


def test_the_port_is_the_operators(offline: Helm) -> None:
    container = operator_container(offline.template(IMAGES))
    (port,) = container["ports"]
    assert port["containerPort"] == Options.parse(container["args"]).port
    probed = {container[f"{probe}Probe"]["httpGet"]["port"] for probe in ("liveness", "readiness")}
    assert probed == {port["name"]}


def test_kinds_are_the_repositorys_and_are_kept(offline: Helm, repository: Path) -> None:
    """Read and written again by Helm, nothing of them changes."""
    kinds = [manifest for manifest in offline.template(IMAGES) if manifest["kind"] == "CustomResourceDefinition"]
    for kind in kinds:
        assert kind["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert kind["metadata"].pop("labels")
    sources = [yaml.safe_load(path.read_text()) for path in sorted((repository / "crds").glob("*.yaml"))]
    assert sources
    assert sorted(kinds, key=str) == sorted(sources, key=str)


def test_a_package_holds_the_kinds(offline: Helm, repository: Path, tmp_path: Path) -> None:
    """Whatever packs the chart: Flux drops links, and would install none."""
    offline.run("package", str(CHART), f"--destination={tmp_path}")
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        names = archive.getnames()
        for source in (repository / "crds").glob("*.yaml"):
            file = archive.extractfile(f"wardrobe/files/crds/{source.name}")
            assert file
            assert file.read() == source.read_bytes()
    assert "wardrobe/values.schema.json" in names
    assert offline.template(IMAGES, chart=package) == offline.template(IMAGES)


def test_the_charts_kinds_are_files_and_the_repositorys(repository: Path) -> None:
    """`make kinds` copies them."""
    copies = {path.name: path for path in (CHART / "files" / "crds").iterdir()}
    sources = {path.name: path.read_text() for path in (repository / "crds").glob("*.yaml")}
    assert not [path for path in (CHART, *CHART.rglob("*")) if path.is_symlink()]
    assert {name: path.read_text() for name, path in copies.items()} == sources


def test_versions_are_the_operators(repository: Path) -> None:
    project = tomllib.loads((repository / "operator" / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (project["version"], project["version"])


def test_no_wildcards_and_no_secrets(offline: Helm) -> None:
    for rule in one(offline.template(IMAGES), "ClusterRole")["rules"]:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert "secrets" not in rule["resources"]
        assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])


def test_nothing_is_bound_cluster_wide_where_namespaces_are_named(offline: Helm) -> None:
    manifests = offline.template(IMAGES, "namespaces={a,b}")
    assert [m["metadata"]["namespace"] for m in manifests if m["kind"] == "RoleBinding"] == ["a", "b"]
    assert not [m for m in manifests if m["kind"] == "ClusterRoleBinding"]


def test_monitors_are_off_and_choose_what_there_is(offline: Helm) -> None:
    assert not [m for m in offline.template(IMAGES) if m["kind"].endswith("Monitor")]
    manifests = offline.template(*EVERYTHING)
    service, monitor = one(manifests, "Service"), one(manifests, "ServiceMonitor")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} == {"metrics"}
    pod = one(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= pod.items()
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    monitor = one(manifests, "PodMonitor")["spec"]
    assert monitor["namespaceSelector"] == {"matchNames": ["default", "kube-public"]}
    parts = serving_pods()
    assert len(parts) == 2
    for template in parts:
        assert chosen(monitor["selector"], template["metadata"]["labels"])
        ports = {port["name"] for container in template["spec"]["containers"] for port in container["ports"]}
        assert {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]} <= ports
        assert set(monitor["podTargetLabels"]) <= set(template["metadata"]["labels"])


def test_a_thousand_series_of_tgi_are_not_kept(offline: Helm) -> None:
    """One for each size of a batch, from every engine pod."""
    manifests = offline.template(IMAGES, "monitoring.podMonitor.enabled=true")
    (endpoint,) = one(manifests, "PodMonitor")["spec"]["podMetricsEndpoints"]
    (rule,) = endpoint["metricRelabelings"]
    assert (rule["sourceLabels"], rule["action"]) == (["__name__"], "drop")
    kept = ("tgi_batch_next_size_sum", "tgi_batch_next_size_count", "tgi_request_duration_bucket")
    assert re.fullmatch(rule["regex"], "tgi_batch_next_size_bucket")
    assert not any(re.fullmatch(rule["regex"], name) for name in kept)


def serving_pods() -> list[dict[str, Any]]:
    """As the operator makes them."""
    made = yaml.safe_load_all((golden.FOLDER / "adapterdeployment.yaml").read_text())
    return [manifest["spec"]["template"] for manifest in made if manifest["kind"] == "Deployment"]


def chosen(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    by_value = selector["matchLabels"].items() <= labels.items()
    return by_value and all(labels.get(rule["key"]) in rule["values"] for rule in selector["matchExpressions"])
