"""An AdapterDeployment's whole reconcile, on a cluster in memory: what is routed, what is said, what is left alone."""

import asyncio
import contextlib
import copy
import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import results, serving
from support.fake_cluster import FakeCluster, KilledError
from support.serving import Fleet, Manifest

from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Key
from wardrobe.kube.client import ConflictError
from wardrobe.plan.plan import Plan
from wardrobe.reconcile import Reconciler
from wardrobe.resources.routes import read_routes
from wardrobe.resources.serving import child_keys
from wardrobe.settings import Settings
from wardrobe_contracts.routes import Routes
from wardrobe_contracts.state import Verdict

NAMESPACE = "hospital"
NAME = "tantanila"
DEPLOYMENT = Key("AdapterDeployment", NAMESPACE, NAME)
V1, V2 = Key("Adapter", NAMESPACE, "cardiology-v1"), Key("Adapter", NAMESPACE, "cardiology-v2")


class NoPolling:
    def follow(self, key: Key, url: str) -> None: ...

    async def forget(self, key: Key) -> None: ...


class Ward:
    """A cluster with a base, two versions of cardiology, and a deployment of the first."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.fleet = Fleet(self.routes)
        self.put({"kind": "BaseModel", "metadata": {"name": "base"}, "spec": {"source": "pvc://models/base"}})
        self.cluster.objects[Key("BaseModel", NAMESPACE, "base")]["status"] = serving.ready_base()
        for claim in ("wardrobe-store", "models"):
            self.put({"kind": "PersistentVolumeClaim", "metadata": {"name": claim}})
        for name in ("cardiology-v1", "cardiology-v2"):
            self.put(serving.adapter(name))
        self.put(serving.deployment(NAME, cardiology="cardiology-v1"))

    def put(self, manifest: Manifest) -> None:
        manifest["metadata"]["namespace"] = NAMESPACE
        self.cluster.put(manifest)

    def reconcile(self, key: Key = DEPLOYMENT) -> Plan:
        """One reconcile by a fresh operator."""
        reconciler: Any = Reconciler(
            self.cluster,  # type: ignore[arg-type]
            Settings("none", "none", "none"),
            NoPolling(),  # type: ignore[arg-type]
            self.fleet,  # type: ignore[arg-type]
            lambda: serving.TIME,
        )
        with contextlib.suppress(ConflictError):
            plan: Plan = asyncio.run(reconciler.reconcile(key))
            return plan
        return Plan()

    def resources(self) -> list[Key]:
        return sorted(key for key in self.cluster.objects if key.kind in {"Adapter", "AdapterDeployment"})

    def settle(self) -> None:
        """Let everything happen until nothing does; pods start at once."""
        for _ in range(30):
            before = self.cluster.writes
            for key in self.resources():
                self.reconcile(key)
            self.start_pods()
            if self.cluster.writes == before:
                return
        raise AssertionError("it never settles")

    def start_pods(self) -> None:
        """The Deployment controller's part, and the kubelet's."""
        for key, made in list(self.cluster.objects.items()):
            if key.kind == "Deployment":
                for number in range(made["spec"]["replicas"]):
                    pod = serving.pod_of(made, number)
                    if Key("Pod", NAMESPACE, pod["metadata"]["name"]) not in self.cluster.objects:
                        self.put({**pod, "status": serving.ready_status()})

    def point(self, adapter: str, department: str = "cardiology", name: str = NAME) -> None:
        found = self.cluster.objects[Key("AdapterDeployment", NAMESPACE, name)]
        found["spec"]["departments"][department]["adapter"] = adapter
        found["metadata"]["generation"] += 1

    def routes(self, name: str = NAME) -> Routes | None:
        return read_routes(self.cluster.objects.get(Key("ConfigMap", NAMESPACE, f"{name}-routes")))

    def routed(self, department: str = "cardiology") -> str | None:
        now = self.routes()
        version = now.departments[department].version if now else None
        return version.rpartition("-")[0] if version else None

    def status(self, key: Key = DEPLOYMENT) -> Manifest:
        found: Manifest = self.cluster.objects[key].get("status", {})
        return found

    def used_by(self, key: Key) -> list[str]:
        found: list[str] = self.status(key).get("usedBy", [])
        return found

    def said(self, kind: str = "Ready", key: Key = DEPLOYMENT) -> tuple[str, str, str]:
        """Status, reason and message of a condition."""
        found = next(c for c in self.status(key)["conditions"] if c["type"] == kind)
        return found["status"], found["reason"], found["message"]


@pytest.fixture
def ward() -> Ward:
    made = Ward()
    made.settle()
    assert made.routed() == "cardiology-v1"
    assert made.said()[:2] == ("True", "Serving")
    return made


def test_an_adapter_says_who_names_it_or_still_routes_to_it(ward: Ward) -> None:
    assert ward.used_by(V1) == [NAME]
    assert ward.used_by(V2) == []
    ward.put(serving.deployment("second", paediatrics="cardiology-v1"))
    ward.reconcile(V1)
    assert ward.used_by(V1) == ["second", NAME]


def test_a_version_is_routed_only_after_its_adapter_says_that_it_is_in_use(ward: Ward) -> None:
    ward.point("cardiology-v2")
    ward.reconcile()
    ward.reconcile()
    assert ward.routed() == "cardiology-v1", "cardiology-v2 is proved, but nothing keeps anybody from deleting it"
    assert ward.said()[:2] == ("Unknown", "MarkingInUse")
    ward.reconcile(V2)
    assert ward.used_by(V2) == [NAME]
    ward.reconcile()
    assert ward.routed() == "cardiology-v2"


def test_the_old_version_is_in_use_until_no_route_leads_to_it(ward: Ward) -> None:
    ward.point("cardiology-v2")
    ward.reconcile(V1)
    ward.reconcile(V2)
    assert (ward.used_by(V1), ward.used_by(V2)) == ([NAME], [NAME])
    ward.settle()
    assert ward.routed() == "cardiology-v2"
    assert ward.status()["departments"]["cardiology"]["previous"] == ["cardiology-v1"], "kept warm"
    assert ward.used_by(V1) == [], "which does not count as use"


def test_a_deleted_deployment_uses_nothing_even_while_its_routes_are_there(ward: Ward) -> None:
    ward.cluster.objects.pop(DEPLOYMENT)  # the garbage collector comes later
    assert ward.routes() is not None
    ward.reconcile(V1)
    assert ward.used_by(V1) == []


def test_routes_of_another_deployment_that_had_the_name_do_not_count(ward: Ward) -> None:
    ward.cluster.objects.pop(DEPLOYMENT)
    ward.put(serving.deployment(NAME, cardiology="cardiology-v2"))
    ward.reconcile(V1)
    assert ward.used_by(V1) == []


def test_wiped_statuses_converge_to_the_same_and_routes_stay(ward: Ward) -> None:
    ward.point("cardiology-v2")
    ward.settle()
    routes = ward.routes()
    before = {key: ward.cluster.objects[key].pop("status") for key in ward.resources()}
    for order in itertools.permutations(ward.resources()):
        for key in order:
            ward.reconcile(key)
        ward.settle()
        assert {key: ward.cluster.objects[key].pop("status") for key in ward.resources()} == before
        assert ward.routes() == routes


def test_a_version_that_is_not_applied_is_said_with_pod_and_next_step(ward: Ward) -> None:
    ward.fleet.verdicts = {"cardiology-v2": Verdict.NOT_APPLIED}
    ward.point("cardiology-v2")
    ward.settle()
    status, reason, message = ward.said()
    assert (status, reason) == ("False", "NotProved")
    assert message.startswith(
        "spec.departments.cardiology.adapter is 'cardiology-v2': NotApplied on tantanila-engine-0"
    )
    assert "Delete pod tantanila-engine-0, or name another version; cardiology-v1 goes on answering" in message
    assert ward.said("Stalled")[2] == message
    assert ward.said("Reconciling")[2] == "", "what does not hold is not explained again"


def test_reconciling_twice_writes_nothing(ward: Ward) -> None:
    writes = ward.cluster.writes
    for key in ward.resources() * 2:
        ward.reconcile(key)
    assert ward.cluster.writes == writes


steps = st.one_of(
    st.tuples(st.just("point"), st.sampled_from(["cardiology-v1", "cardiology-v2"])),
    st.tuples(st.just("reconcile"), st.sampled_from([DEPLOYMENT, V1, V2])),
    st.tuples(st.just("wipe"), st.sampled_from([DEPLOYMENT, V1, V2])),
    st.tuples(st.just("killed after"), st.integers(1, 4)),
)


@given(st.lists(steps, max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_version_that_comes_into_routes_is_always_in_use(story: list[tuple[str, Any]]) -> None:
    ward = Ward()
    ward.settle()
    for what, which in story:
        before = ward.routed()
        marked = {key.name for key in (V1, V2) if NAME in ward.used_by(key)}
        match what:
            case "point":
                ward.point(which)
            case "reconcile":
                ward.reconcile(which)
            case "wipe":
                ward.cluster.objects[which].pop("status", None)
            case "killed after":
                ward.cluster.writes_left = which
                with contextlib.suppress(KilledError):
                    ward.reconcile()
                ward.cluster.writes_left = None
        assert ward.routed() == before or ward.routed() in marked
    ward.settle()
    wanted = ward.cluster.objects[DEPLOYMENT]["spec"]["departments"]["cardiology"]["adapter"]
    assert ward.routed() == wanted
    assert [ward.used_by(key) for key in (V1, V2)] == [[NAME] if key.name == wanted else [] for key in (V1, V2)]


BASE = Key("BaseModel", NAMESPACE, "base")


def unready(ward: Ward) -> None:
    ward.cluster.objects[BASE].pop("status")


def gone(ward: Ward) -> None:
    ward.cluster.objects.pop(BASE)


def other_files(ward: Ward) -> None:
    ward.cluster.objects[BASE]["status"] = serving.ready_base(digest=results.digest("9"))


@pytest.mark.parametrize(
    ("trouble", "status", "reason"),
    [
        (unready, "Unknown", "BaseModelNotReady"),
        (gone, "Unknown", "BaseModelNotFound"),
        (other_files, "False", "BaseModelDigestDiffers"),
    ],
)
def test_a_base_in_trouble_stops_no_rollback(ward: Ward, trouble: Any, status: str, reason: str) -> None:
    ward.point("cardiology-v2")
    ward.settle()
    trouble(ward)
    made = ward.cluster.names("Deployment")
    ward.point("cardiology-v1")
    ward.settle()
    assert ward.routed() == "cardiology-v1"
    assert ward.said()[:2] == (status, reason)
    assert "what is loaded and proved goes on answering" in ward.said()[2]
    assert ward.said("AdaptersProved")[:2] == ("True", "Proved")
    assert ward.cluster.names("Deployment") == made


def test_while_held_back_no_version_is_loaded_and_no_engine_pod_changed(ward: Ward) -> None:
    ward.put(serving.adapter("cardiology-v3"))
    gone(ward)
    ward.cluster.objects[DEPLOYMENT]["spec"]["replicas"] = 3
    ward.point("cardiology-v3")
    ward.settle()
    engine = Key("Deployment", NAMESPACE, f"{NAME}-engine")
    assert ward.cluster.objects[engine]["spec"]["replicas"] == 1
    assert ward.routed() == "cardiology-v1"
    assert [loaded.adapter for loaded in must(ward.routes()).adapters] == ["cardiology-v1"]
    assert "nothing new is loaded" in ward.said("AdaptersProved")[2]
    ward.put({"kind": "BaseModel", "metadata": {"name": "base"}, "spec": {"source": "pvc://models/base"}})
    ward.cluster.objects[BASE]["status"] = serving.ready_base()
    ward.settle()
    assert ward.cluster.objects[engine]["spec"]["replicas"] == 3
    assert ward.routed() == "cardiology-v3"


def test_an_engine_deployment_that_is_deleted_while_held_back_is_not_made_again(ward: Ward) -> None:
    gone(ward)
    ward.cluster.delete(Key("Deployment", NAMESPACE, f"{NAME}-engine"))
    ward.settle()
    assert ward.cluster.names("Deployment") == [f"{NAME}-router"]


def must(routes: Routes | None) -> Routes:
    assert routes is not None
    return routes


def test_the_names_that_are_looked_up_are_those_of_all_children(ward: Ward) -> None:
    resource = AdapterDeploymentResource.parse(ward.cluster.objects[DEPLOYMENT])
    applied = {
        key
        for key in ward.cluster.objects
        if key.kind in {"Service", "ServiceAccount", "Role", "RoleBinding", "Deployment"}
    }
    assert set(child_keys(resource)) == applied


SOMEBODYS = [
    ("Service", "mlflow"),
    ("Service", "mlflow-engine"),
    ("Deployment", "mlflow-router"),
    ("ConfigMap", "mlflow-routes"),
    ("ServiceAccount", "mlflow-engine"),
    ("Role", "mlflow-routes"),
]


@pytest.mark.parametrize(("kind", "name"), SOMEBODYS)
def test_what_somebody_else_made_under_our_name_is_left_alone_and_named(ward: Ward, kind: str, name: str) -> None:
    theirs = ward.cluster.put(
        {"kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"port": 5000}}
    )
    before = copy.deepcopy(theirs)
    objects = len(ward.cluster.objects)
    ward.put(serving.deployment("mlflow", cardiology="cardiology-v1"))
    mlflow = Key("AdapterDeployment", NAMESPACE, "mlflow")
    ward.reconcile(mlflow)
    assert ward.cluster.objects[Key(kind, NAMESPACE, name)] == before
    assert len(ward.cluster.objects) == objects + 1, "nothing is half made"
    status, reason, message = ward.said(key=mlflow)
    assert (status, reason) == ("False", "NameTaken")
    assert f"{kind} {name} exists already" in message
    assert "create this AdapterDeployment under another name" in message
    ward.cluster.delete(Key(kind, NAMESPACE, name))
    ward.settle()
    assert ward.routes("mlflow") is not None, "it goes on by itself"
    assert ward.said(key=mlflow)[1] != "NameTaken"


@pytest.mark.parametrize(("seconds", "pace"), [(0, 0.15), (1, 0.15), (10, 1.0), (60, 6.0), (3600, 15.0)])
def test_routers_that_stay_behind_are_looked_at_less_and_less(ward: Ward, seconds: int, pace: float) -> None:
    ward.fleet.stuck_at = getattr(ward.routes(), "generation", None)
    ward.point("cardiology-v2")
    ward.settle()
    assert ward.said("RoutesApplied")[:2] == ("Unknown", "RoutersBehind")
    (applied,) = (found for found in ward.status()["conditions"] if found["type"] == "RoutesApplied")
    assert applied["lastTransitionTime"] == serving.TIME
    since = datetime.fromisoformat(serving.TIME) - timedelta(seconds=seconds)
    applied["lastTransitionTime"] = since.isoformat()
    assert ward.reconcile().requeue_after == pytest.approx(pace)
    ward.fleet.stuck_at = None
    ward.settle()
    assert ward.said()[:2] == ("True", "Serving")


def test_two_deployments_whose_childrens_names_clash(ward: Ward) -> None:
    ward.put(serving.deployment(f"{NAME}-engine", cardiology="cardiology-v1"))
    ward.settle()
    status, reason, message = ward.said(key=Key("AdapterDeployment", NAMESPACE, f"{NAME}-engine"))
    assert (status, reason) == ("False", "NameTaken")
    assert (
        f"Service {NAME}-engine exists already and is not this deployment's but AdapterDeployment {NAME}'s" in message
    )
    assert ward.said()[:2] == ("True", "Serving")


def test_a_child_without_our_labels_is_still_ours(ward: Ward) -> None:
    service = ward.cluster.objects[Key("Service", NAMESPACE, NAME)]
    labels = service["metadata"].pop("labels")
    ward.settle()
    assert ward.cluster.objects[Key("Service", NAMESPACE, NAME)]["metadata"]["labels"] == labels
    assert ward.said()[:2] == ("True", "Serving")


def test_what_a_deleted_deployment_of_the_name_left_is_waited_for(ward: Ward) -> None:
    ward.cluster.objects.pop(DEPLOYMENT)
    ward.put(serving.deployment(NAME, cardiology="cardiology-v2"))
    plan = ward.reconcile()
    assert ward.said()[:2] == ("Unknown", "NameTaken")
    assert "waiting for the garbage collector" in ward.said()[2]
    assert plan.requeue_after is not None
    assert plan.requeue_after <= 1
    uid = ward.cluster.objects[DEPLOYMENT]["metadata"]["uid"]
    for key, found in list(ward.cluster.objects.items()):
        if any(ref["uid"] != uid for ref in found["metadata"].get("ownerReferences", [])):
            ward.cluster.delete(key)
    ward.settle()
    assert ward.said()[:2] == ("True", "Serving")
    assert ward.routed() == "cardiology-v2"


def test_a_service_that_somebody_puts_in_place_of_ours_stops_no_rollback(ward: Ward) -> None:
    ward.point("cardiology-v2")
    ward.settle()
    ward.cluster.delete(Key("Service", NAMESPACE, NAME))
    ward.put({"kind": "Service", "metadata": {"name": NAME}, "spec": {"theirs": True}})
    ward.point("cardiology-v1")
    ward.settle()
    assert ward.routed() == "cardiology-v1"
    assert ward.said()[:2] == ("False", "NameTaken")
    assert ward.cluster.objects[Key("Service", NAMESPACE, NAME)]["spec"] == {"theirs": True}


def trouble(ward: Ward, pod: str, status: Manifest) -> None:
    ward.cluster.objects[Key("Pod", NAMESPACE, pod)]["status"] = status


def test_a_pod_that_does_not_start_is_said_and_the_others_go_on_answering(ward: Ward) -> None:
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes."}
    ward.cluster.objects[DEPLOYMENT]["spec"]["replicas"] = 2
    ward.settle()
    trouble(ward, f"{NAME}-engine-1", {"phase": "Pending", "conditions": [unschedulable]})
    ward.settle()
    assert ward.said()[:2] == ("Unknown", "Unschedulable")
    assert ward.said("PodsStarted")[:2] == ("Unknown", "Unschedulable")
    assert ward.said("AdaptersProved")[:2] == ("True", "Proved")
    trouble(ward, f"{NAME}-engine-1", serving.ready_status())
    ward.settle()
    assert ward.said()[:2] == ("True", "Serving")
    assert ward.said("PodsStarted")[:2] == ("True", "Started")


def test_what_somebody_has_to_mend_is_said_before_what_may_mend_itself(ward: Ward) -> None:
    pulling = {"name": "router", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
    trouble(ward, f"{NAME}-router-1", {"phase": "Pending", "containerStatuses": [pulling]})
    ward.fleet.missing_keys.append("cardiology")
    ward.settle()
    assert ward.said()[:2] == ("False", "KeysMissing")
    assert ward.said("PodsStarted")[:2] == ("Unknown", "PodStuck")


def agents_variant(ward: Ward) -> str:
    """What the engine Deployment's agent is told that its engine serves."""
    made = ward.cluster.objects[Key("Deployment", NAMESPACE, f"{NAME}-engine")]
    arguments = made["spec"]["template"]["spec"]["containers"][0]["args"]
    found: str = arguments[arguments.index("--quantization") + 1]
    return found


def quantize(ward: Ward, variant: str) -> None:
    found = ward.cluster.objects[DEPLOYMENT]
    found["spec"]["quantization"] = variant
    found["metadata"]["generation"] += 1


def test_another_quantization_rolls_the_engine_pods_and_leaves_the_routes(ward: Ward) -> None:
    routes = ward.routes()
    quantize(ward, "None")
    ward.settle()
    assert agents_variant(ward) == "None"
    assert ward.routes() == routes, "so that pods of the former variant go on as they are"


def test_engine_pods_are_not_changed_to_a_variant_on_which_nothing_could_answer(ward: Ward) -> None:
    quantize(ward, "INT8")
    ward.settle()
    assert agents_variant(ward) == "NF4"
    assert ward.routed() == "cardiology-v1"
    status, reason, message = ward.said()
    assert (status, reason) == ("False", "VariantNotAssessed")
    assert "It has scores on: None, NF4. Set spec.quantization to one of these" in message
    assert "cardiology-v1 goes on answering. Engine pods are not changed while cardiology-v1 answers" in message
    quantize(ward, "NF4")
    ward.settle()
    assert ward.said()[:2] == ("True", "Serving")


def engine(ward: Ward) -> Manifest:
    return ward.cluster.objects[Key("Deployment", NAMESPACE, f"{NAME}-engine")]


def test_a_department_that_names_what_was_not_assessed_holds_back_nothing_else(ward: Ward) -> None:
    """What answers is fit for the pods: they may be scaled, and are made again."""
    ward.put(serving.adapter("cardiology-v4", variants=("None",)))
    ward.point("cardiology-v4")
    found = ward.cluster.objects[DEPLOYMENT]
    found["spec"]["replicas"] = 3
    found["metadata"]["generation"] += 1
    ward.settle()
    assert engine(ward)["spec"]["replicas"] == 3
    assert ward.said()[1] == "VariantNotAssessed"
    assert "Engine pods are not changed" not in ward.said()[2]
    del ward.cluster.objects[Key("Deployment", NAMESPACE, f"{NAME}-engine")]
    ward.settle()
    assert engine(ward)["spec"]["replicas"] == 3


def test_engine_pods_wait_while_what_answers_has_no_scores_on_the_new_variant(ward: Ward) -> None:
    """Also where the version that is asked for has them: nothing could answer while it is not proved."""
    ward.put(serving.adapter("cardiology-v5", variants=("INT8",)))
    quantize(ward, "INT8")
    ward.point("cardiology-v5")
    ward.fleet.verdicts = {"cardiology-v5": Verdict.LOAD_FAILED}
    ward.settle()
    assert agents_variant(ward) == "NF4"
    assert ward.routed() == "cardiology-v1"
    assert "first name a version that has scores on both variants" in ward.said()[2]


def test_an_object_that_only_carries_our_labels_is_nobodys_business(ward: Ward) -> None:
    """As `kubectl expose` makes it from a Service of ours."""
    ours = ward.cluster.objects[Key("Service", NAMESPACE, NAME)]
    public = {**copy.deepcopy(ours), "metadata": {"name": f"{NAME}-public", "labels": ours["metadata"]["labels"]}}
    ward.put(public)
    ward.settle()
    assert ward.said()[:2] == ("True", "Serving")
    assert Key("Service", NAMESPACE, f"{NAME}-public") in ward.cluster.objects
