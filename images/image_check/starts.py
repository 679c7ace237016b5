"""One real start of each member's image: it answers, does its first work, and ends at SIGTERM."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devcluster import controlplane, kubectl, ports
from devcluster.controlplane import ControlPlane
from devcluster.instance import checkout
from devcluster.waiting import require
from wardrobe_contracts.engines import EngineType
from wardrobe_contracts.inspection import InspectConfig
from wardrobe_contracts.paths import CONFIG_VARIABLE, STORE_CLAIM
from wardrobe_contracts.routes import ROUTES_KEY, RoutedBase, Routes
from wardrobe_contracts.state import HEALTH_PATH, METRICS_PATH, READY_PATH, STATE_PATH

from .container import WORK, Image, Runner
from .content import USER

NAMESPACE = "default"
DEPLOYMENT = "tantanila"
ROUTES = "tantanila-routes"
SECONDS = 60
COMPILES = Path(__file__).with_name("compiles.py")
EXAMPLE = Path("examples/tantanila")
IN_CLUSTER = {"KUBECONFIG": f"{WORK}/kubeconfig"}


@dataclass(frozen=True)
class Place:
    """What a start may use: a way to run containers, and a control plane's kubeconfig."""

    runner: Runner
    kubeconfig: Path | None = None

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Output of kubectl, in the namespace of the check."""
        assert self.kubeconfig is not None  # noqa: S101 - starts that need one get one
        return kubectl.run(self.kubeconfig, f"--namespace={NAMESPACE}", *arguments, stdin=stdin)


def operator(image: Image, place: Place) -> str:
    """Until a BaseModel that it was given is inspected by a Job of its making."""
    port = free_port()
    images = ["--trainer-image=none/trainer", "--gateway-image=none/gateway"]
    images += [f"--engine-image={engine}=none/engine" for engine in EngineType]
    command = [*image.entry_point, *images, "--namespaces", NAMESPACE, "--port", str(port)]
    with place.runner.running(image, command, variables=IN_CLUSTER, port=port) as container:
        container.await_answer(HEALTH_PATH)
        for claim in ("models", STORE_CLAIM):
            place.kubectl("apply", "--filename=-", stdin=json.dumps(_claim(claim)))
        place.kubectl("apply", f"--filename={checkout() / EXAMPLE / 'basemodel.yaml'}")
        require(lambda: bool(place.kubectl("get", "jobs", "--output=name")), seconds=SECONDS, what="the Job of inspect")
        container.await_answer(METRICS_PATH, b"wardrobe_")
        container.stop()
    return "healthy before a control plane, made the Job that inspects a BaseModel, ended at SIGTERM"


def _claim(name: str) -> dict[str, object]:
    """No pod ever mounts it: the operator only looks whether it is there."""
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def gateway(image: Image, place: Place) -> str:
    """Router and agent, each until it has the routes that a ConfigMap holds."""
    base = RoutedBase(name="base", digest="sha256:" + "0" * 64)
    routes = Routes(deployment=DEPLOYMENT, generation=1, base=base, departments={}, adapters=[]).model_dump_json(
        by_alias=True
    )
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ROUTES}, "data": {ROUTES_KEY: routes}}
    place.kubectl("apply", "--filename=-", stdin=json.dumps(manifest))
    own = ["--service=tantanila-engine", f"--keys={WORK}/keys", f"--memory={WORK}/memory"]
    _serve(image, place, [*image.entry_point, *own], READY_PATH)
    _serve(
        image,
        place,
        ["wardrobe-agent", "--quantization=None", f"--store={WORK}/store", f"--cache={WORK}/cache"],
        HEALTH_PATH,
    )
    return "router and agent took their routes from a control plane, ended at SIGTERM"


def _serve(image: Image, place: Place, command: list[str], path: str) -> None:
    port = free_port()
    common = ["--deployment", DEPLOYMENT, "--namespace", NAMESPACE, "--routes", ROUTES, "--linger-seconds", "0"]
    with place.runner.running(
        image, [*command, *common, "--ops-port", str(port)], variables=IN_CLUSTER, port=port
    ) as container:
        container.await_answer(STATE_PATH, b'"generation":1')
        container.await_answer(path)
        container.stop()


def trainer(image: Image, place: Place) -> str:
    """The example's base inspected; what training and assessing import, torch with all its libraries; and a module
    compiled as Triton does on a GPU."""
    _model(place)
    order = InspectConfig(base_folder=f"{WORK}/model", source="pvc://models/model", output_folder=f"{WORK}/inspected")
    variables = {CONFIG_VARIABLE: order.model_dump_json(by_alias=True)}
    place.runner.run(image, [*image.entry_point, "inspect"], variables)
    place.runner.run(image, ["python", "-c", "import wardrobe_trainer.train, wardrobe_trainer.assess"])
    place.runner.run(image, ["python", "-c", COMPILES.read_text()])
    return "inspected the example's base, imports all that training and assessing need, and compiles for Triton"


def engine(image: Image, place: Place) -> str:
    """Until it serves the example's base in NF4 on the CPU."""
    _model(place)
    port = free_port()
    command = [*image.entry_point, f"--model={WORK}/model", "--quantization=NF4", f"--port={port}"]
    with place.runner.running(image, command, port=port) as container:
        container.await_answer("/health")
        container.stop()
    return "served the example's base in NF4 on the CPU, ended at SIGTERM"


STARTS: Mapping[str, Callable[[Image, Place], str]] = {
    "operator": operator,
    "gateway": gateway,
    "trainer": trainer,
    "engine": engine,
}
NEED_CLUSTER = {"operator", "gateway"}


@contextmanager
def place_for(members: list[str], folder: Path) -> Iterator[Place]:
    """Where starts happen: a folder for the containers' user, and a control plane if one of the members needs it."""
    shutil.rmtree(folder, ignore_errors=True)
    work = folder / "work"
    for part in (work, *(work / name for name in ("control", "keys", "memory", "store"))):
        part.mkdir(parents=True)
        os.chown(part, USER, USER)
    runner = Runner(folder, work)
    if not NEED_CLUSTER.intersection(members):
        yield Place(runner)
        return
    with controlplane.start() as plane:
        _prepare(plane, work)
        yield Place(runner, plane.kubeconfig)


def _prepare(plane: ControlPlane, work: Path) -> None:
    plane.run("apply", f"--filename={checkout() / 'crds'}")
    plane.run("wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")
    shutil.copy(plane.kubeconfig, work / "kubeconfig")
    os.chown(work / "kubeconfig", USER, USER)


def _model(place: Place) -> None:
    shutil.copytree(checkout() / EXAMPLE / "model", place.runner.work / "model", dirs_exist_ok=True)


def free_port() -> int:
    """Of this machine, whose network containers have."""
    return ports.pick(ports.taken_by_instances())
