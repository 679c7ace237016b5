"""An AdapterDeployment's whole reconcile, on a cluster in memory: what is routed, what is said, what is left alone."""

import asyncio
import contextlib
import copy
import itertools
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import resources, results
from support.fake_cluster import FakeCluster, KilledError, later
from support.gauntlet import TIMES
from support.serving import Fleet

from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Key, Manifest
from wardrobe.deployment.children.applied import child_keys
from wardrobe.deployment.decide import PROVING_SECONDS
from wardrobe.kube.client import ConflictError
from wardrobe.plan.needs import LOOK_AGAIN_SECONDS
from wardrobe.plan.plan import Plan
from wardrobe_contracts.routes import FORMAT_0_KEY, ROUTES_KEY, Permit, Routes
from wardrobe_contracts.state import EngineSets, Verdict

NAMESPACE = "hospital"
NAME = "tantanila"
DEPLOYMENT = Key("AdapterDeployment", NAMESPACE, NAME)
V1, V2 = Key("Adapter", NAMESPACE, "cardiology-v1"), Key("Adapter", NAMESPACE, "cardiology-v2")


class Ward:
    """A cluster with a base, two adapters of cardiology, and a deployment of the first."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.fleet = Fleet(self.routes)
        self.put(resources.base_model())
        self.cluster.objects[Key("BaseModel", NAMESPACE, "base")]["status"] = resources.ready_base()
        for claim in ("wardrobe-store", "models"):
            self.put(resources.claim(claim))
        for name in ("cardiology-v1", "cardiology-v2"):
            self.put(resources.adapter(name))
        self.put(resources.deployment(NAME, cardiology="cardiology-v1"))

    def put(self, manifest: Manifest) -> None:
        self.cluster.put(manifest, NAMESPACE)

    def reconcile(self, key: Key = DEPLOYMENT) -> Plan:
        """One reconcile by a fresh operator."""
        with contextlib.suppress(ConflictError):
            return asyncio.run(self.cluster.reconciler(self.fleet).reconcile(key))
        return Plan()

    def resources(self) -> list[Key]:
        return sorted(key for key in self.cluster.objects if key.kind in {"Adapter", "AdapterDeployment"})

    def settle(self) -> None:
        """Let everything happen until nothing does; pods start at once."""
        for _ in range(30):
            before = self.cluster.contents()
            for key in self.resources():
                self.reconcile(key)
            self.cluster.start_replicas()
            if self.cluster.contents() == before:
                return
        raise AssertionError("it never settles")

    def point(self, adapter: str, department: str = "cardiology", name: str = NAME) -> None:
        with self.cluster.edited(Key("AdapterDeployment", NAMESPACE, name)) as found:
            found["spec"]["departments"][department]["adapter"] = adapter

    def routes(self, name: str = NAME) -> Routes | None:
        return self.cluster.routes(NAMESPACE, name)

    def routed(self, department: str = "cardiology") -> str | None:
        now = self.routes()
        name = now.departments[department].engine_name if now else None
        return name.rpartition("-")[0] if name else None

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
    ward.put(resources.deployment("second", paediatrics="cardiology-v1"))
    ward.reconcile(Key("AdapterDeployment", NAMESPACE, "second"))
    assert ward.used_by(V1) == [NAME, "second"]
    ward.reconcile(V1)
    assert ward.used_by(V1) == [NAME, "second"]


def test_an_adapter_is_marked_before_the_routes_lead_to_it_and_in_one_reconcile(ward: Ward) -> None:
    three_replicas(ward)
    ward.point("cardiology-v1")
    ward.cluster.writes_left = 1
    with pytest.raises(KilledError):
        ward.reconcile()
    assert ward.used_by(V1) == [NAME]
    assert ward.routed() == "cardiology-v2"
    ward.cluster.writes_left = None
    ward.reconcile()
    assert ward.routed() == "cardiology-v1"


def test_the_old_adapter_is_in_use_until_no_route_leads_to_it(ward: Ward) -> None:
    ward.point("cardiology-v2")
    ward.reconcile()
    ward.reconcile(V1)
    assert (ward.used_by(V1), ward.used_by(V2)) == ([NAME], [NAME])
    assert ward.routed() == "cardiology-v1"
    ward.settle()
    assert ward.routed() == "cardiology-v2"
    assert ward.status()["departments"]["cardiology"]["previous"] == ["cardiology-v1"], "kept warm"
    assert ward.used_by(V1) == [], "which does not count as use"


def test_a_deleted_deployment_uses_nothing_even_while_its_routes_are_there(ward: Ward) -> None:
    ward.cluster.objects.pop(DEPLOYMENT)  # the garbage collector comes later
    assert ward.routes() is not None
    ward.reconcile(V1)
    assert ward.used_by(V1) == []


def test_what_an_earlier_operator_wrote_into_the_list_is_kept_and_dropped_alike(ward: Ward) -> None:
    ward.cluster.objects[V1]["status"]["usedBy"] = ["gone", NAME]
    ward.reconcile(V1)
    assert ward.used_by(V1) == [NAME]


def test_a_hundred_users_are_enough(ward: Ward) -> None:
    """And each of them that leaves makes room."""
    others = [f"other-{number}" for number in range(100)]
    for name in others:
        ward.put(resources.deployment(name, cardiology="cardiology-v2"))
    ward.cluster.objects[V2]["status"]["usedBy"] = others
    ward.point("cardiology-v2")
    for key in (DEPLOYMENT, V2, DEPLOYMENT):
        ward.reconcile(key)
    assert ward.routed() == "cardiology-v1"
    assert ward.said("AdaptersProved")[:2] == ("Unknown", "MarkingInUse")
    ward.cluster.delete(Key("AdapterDeployment", NAMESPACE, "other-7"))
    ward.reconcile(V2)
    ward.reconcile()
    assert ward.routed() == "cardiology-v2"


def test_routes_of_another_deployment_that_had_the_name_do_not_count(ward: Ward) -> None:
    ward.cluster.objects.pop(DEPLOYMENT)
    ward.put(resources.deployment(NAME, cardiology="cardiology-v2"))
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


def test_an_adapter_that_is_not_applied_is_said_with_pod_and_next_step(ward: Ward) -> None:
    ward.fleet.verdicts = {"cardiology-v2": Verdict.NOT_APPLIED}
    ward.point("cardiology-v2")
    ward.settle()
    status, reason, message = ward.said()
    assert (status, reason) == ("False", "NotProved")
    assert message.startswith(
        "spec.departments.cardiology.adapter is 'cardiology-v2': NotApplied on tantanila-engine-0"
    )
    assert "Delete pod tantanila-engine-0, or name another adapter; cardiology-v1 goes on answering" in message
    assert ward.said("Stalled")[2] == message
    assert ward.said("Reconciling")[2] == "", "what holds nothing back is not explained again"


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
    st.tuples(st.just("silent"), st.sampled_from([{}, {"127.0.0.1": 0.0}, {"127.0.0.1": 60.0}])),
)


@given(st.lists(steps, max_size=30))
@settings(max_examples=60 * TIMES, deadline=None)
def test_an_adapter_that_comes_into_routes_is_always_in_use(story: list[tuple[str, Any]]) -> None:
    ward = Ward()
    ward.settle()
    for what, which in story:
        before = ward.routed()
        match what:
            case "point":
                ward.point(which)
            case "reconcile":
                ward.reconcile(which)
            case "wipe":
                ward.cluster.objects[which].pop("status", None)
            case "silent":
                ward.fleet.silent = which
            case "killed after":
                ward.cluster.writes_left = which
                with contextlib.suppress(KilledError):
                    ward.reconcile()
                ward.cluster.writes_left = None
        marked = {key.name for key in (V1, V2) if NAME in ward.used_by(key)}
        assert ward.routed() == before or ward.routed() in marked
    ward.fleet.silent = {}
    ward.settle()
    wanted = ward.cluster.objects[DEPLOYMENT]["spec"]["departments"]["cardiology"]["adapter"]
    assert ward.routed() == wanted
    assert [ward.used_by(key) for key in (V1, V2)] == [[NAME] if key.name == wanted else [] for key in (V1, V2)]


BASE = Key("BaseModel", NAMESPACE, "base")


def unready(ward: Ward) -> None:
    ward.cluster.objects[BASE].pop("status")


def gone(ward: Ward) -> None:
    ward.cluster.objects.pop(BASE)


def of_another_release(ward: Ward) -> None:
    ward.cluster.objects[BASE]["spec"]["source"] = {"claim": "models"}


def other_files(ward: Ward) -> None:
    ward.cluster.objects[BASE]["status"] = resources.ready_base(digest=results.digest("9"))


@pytest.mark.parametrize(
    ("trouble", "status", "reason"),
    [
        (unready, "Unknown", "BaseModelNotReady"),
        (gone, "Unknown", "BaseModelNotFound"),
        (of_another_release, "Unknown", "BaseModelNotFound"),
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


def test_while_held_back_no_adapter_is_loaded_and_no_engine_pod_changed(ward: Ward) -> None:
    ward.put(resources.adapter("cardiology-v3"))
    gone(ward)
    ward.cluster.objects[DEPLOYMENT]["spec"]["replicas"] = 3
    ward.point("cardiology-v3")
    ward.settle()
    engine = Key("Deployment", NAMESPACE, f"{NAME}-engine")
    assert ward.cluster.objects[engine]["spec"]["replicas"] == 1
    assert ward.routed() == "cardiology-v1"
    assert [loaded.adapter for loaded in must(ward.routes()).adapters] == ["cardiology-v1"]
    assert "nothing new is loaded" in ward.said("AdaptersProved")[2]
    ward.put(resources.base_model())
    ward.cluster.objects[BASE]["status"] = resources.ready_base()
    ward.settle()
    assert ward.cluster.objects[engine]["spec"]["replicas"] == 3
    assert ward.routed() == "cardiology-v3"


def test_engine_pods_are_changed_once_and_not_for_a_fingerprint_that_is_being_replaced(ward: Ward) -> None:
    """A newer operator makes other pods, and takes the base's fingerprint anew: it waits for that."""
    engine = Key("Deployment", NAMESPACE, f"{NAME}-engine")
    before = ward.cluster.objects[engine]["spec"]
    status = ward.cluster.objects[BASE]["status"]
    ward.cluster.objects[BASE]["status"] = {**status, "fingerprint": results.digest("0")}
    ward.cluster.objects[DEPLOYMENT]["spec"]["replicas"] = 2
    ward.point("cardiology-v2")
    ward.settle()
    assert ward.cluster.objects[engine]["spec"] == before
    assert ward.said()[:2] == ("True", "Serving")
    assert ward.routed() == "cardiology-v2"
    ward.cluster.objects[BASE]["status"] = {**status, "fingerprint": f"sampled:{results.digest('1')}"}
    ward.settle()
    after = ward.cluster.objects[engine]["spec"]
    assert after["replicas"] == 2
    arguments = after["template"]["spec"]["initContainers"][-1]["args"]
    assert arguments[arguments.index("--fingerprint") + 1] == f"sampled:{results.digest('1')}"


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
    ward.put(resources.deployment("mlflow", cardiology="cardiology-v1"))
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
    assert applied["lastTransitionTime"] == resources.TIME
    since = datetime.fromisoformat(resources.TIME) - timedelta(seconds=seconds)
    applied["lastTransitionTime"] = since.isoformat()
    assert ward.reconcile().requeue_after == pytest.approx(pace)
    ward.fleet.stuck_at = None
    ward.settle()
    assert ward.said()[:2] == ("True", "Serving")


def test_older_adapters_are_kept_loaded_where_nearer_ones_were_deleted(ward: Ward) -> None:
    for number in (3, 4):
        ward.put(resources.adapter(f"cardiology-v{number}"))
    for number in (2, 3, 4):
        ward.point(f"cardiology-v{number}")
        ward.settle()
    assert ward.status()["departments"]["cardiology"]["previous"] == ["cardiology-v3", "cardiology-v2"]
    for name in ("cardiology-v2", "cardiology-v3"):
        ward.cluster.delete(Key("Adapter", NAMESPACE, name))
    ward.settle()
    assert ward.status()["departments"]["cardiology"]["previous"] == ["cardiology-v1"]
    assert {loaded.adapter for loaded in must(ward.routes()).adapters} == {"cardiology-v1", "cardiology-v4"}


def three_replicas(ward: Ward) -> None:
    """Each at an address of its own; both adapters have answered."""
    ward.cluster.objects[DEPLOYMENT]["spec"]["replicas"] = 3
    ward.point("cardiology-v2")
    ward.settle()
    for number in range(3):
        ward.cluster.objects[Key("Pod", NAMESPACE, f"{NAME}-engine-{number}")]["status"] = resources.ready_status(
            f"10.0.0.{number}"
        )


def test_a_rollback_does_not_wait_for_a_pod_that_has_just_fallen_silent(ward: Ward) -> None:
    three_replicas(ward)
    ward.fleet.silent = {"10.0.0.2": 0.0}
    ward.point("cardiology-v1")
    ward.reconcile()
    assert ward.routed() == "cardiology-v1"


def test_a_new_adapter_waits_for_a_silent_pod_only_while_somebody_may_reach_it(ward: Ward) -> None:
    three_replicas(ward)
    ward.put(resources.adapter("cardiology-v3"))
    ward.point("cardiology-v3")
    ward.fleet.silent = {"10.0.0.2": 1.0}
    ward.settle()
    assert ward.routed() == "cardiology-v2"
    ward.fleet.silent = {"10.0.0.2": 5.0}
    ward.fleet.reached = ["10.0.0.2"]
    ward.settle()
    assert ward.routed() == "cardiology-v2", "a router reaches it, and would ask it for the adapter"
    ward.fleet.reached = []
    ward.settle()
    assert ward.routed() == "cardiology-v3"
    assert ward.said("AdaptersProved")[:2] == ("True", "Proved")


def test_a_router_that_is_not_ready_and_silent_is_not_waited_for(ward: Ward) -> None:
    lost = {**resources.ready_status("10.0.0.9"), "conditions": [{"type": "Ready", "status": "False"}]}
    ward.fleet.silent = {"10.0.0.9": 60.0}
    trouble(ward, f"{NAME}-router-1", {**lost, "conditions": [{"type": "Ready", "status": "True"}]})
    ward.settle()
    assert ward.said("RoutesApplied")[:2] == ("Unknown", "RoutersBehind")
    trouble(ward, f"{NAME}-router-1", lost)
    ward.settle()
    assert ward.said("RoutesApplied")[:2] == ("True", "Applied")
    assert f"not ready and not asked: {NAME}-router-1" in ward.said("RoutesApplied")[2]


def test_two_deployments_whose_childrens_names_clash(ward: Ward) -> None:
    ward.put(resources.deployment(f"{NAME}-engine", cardiology="cardiology-v1"))
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
    ward.put(resources.deployment(NAME, cardiology="cardiology-v2"))
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
    trouble(ward, f"{NAME}-engine-1", resources.ready_status())
    ward.settle()
    assert ward.said()[:2] == ("True", "Serving")
    assert ward.said("PodsStarted")[:2] == ("True", "Started")


def test_a_gap_is_said_in_status_and_event_before_the_only_engine_may_restart(ward: Ward) -> None:
    """And no router is waited for: none answers otherwise by it."""
    with ward.cluster.edited(DEPLOYMENT) as found:
        found["spec"]["engine"] = {"type": "TGI", "gpus": 1}
    ward.fleet.engine_sets = EngineSets(running=results.digest("1"), wanted=results.digest("1"))
    ward.settle()
    rolled(ward, updated=1, pods=1)
    ward.fleet.stuck_at = must(ward.routes()).generation
    ward.fleet.engine_sets = EngineSets(running=results.digest("1"), wanted=results.digest("2"))
    ward.status()["departments"]["cardiology"]["state"] = "EngineRestarting"  # while there were two of them
    ward.reconcile()
    assert ward.status()["newAdapters"] == "RestartEngines", "who asks for one knows what it takes"
    assert must(ward.routes()).permit is None
    assert ward.said()[:2] == ("Unknown", "OnlyEngineRestarting")
    assert "engine tantanila-engine-0, the only one, restarts: requests get 503" in ward.cluster.events[-1]["message"]
    assert ward.reconcile().requeue_after == PROVING_SECONDS
    permit = Permit(incarnation="agent", engine_set=results.digest("2"), pod="tantanila-engine-0")
    assert must(ward.routes()).permit == permit
    assert must(ward.routes()).generation > ward.fleet.stuck_at
    assert ward.said("RoutesApplied")[0] == "True"
    ward.fleet.engine_sets = EngineSets(running=results.digest("2"), wanted=results.digest("2"))
    ward.settle()
    assert must(ward.routes()).permit is None
    assert ward.said()[:2] == ("True", "Serving")


FULL = (
    "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. preemption: 0/2 nodes are available: 2 No preemption "
    "victims found for incoming pod."
)
NOT_MEANT = (
    "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are "
    "available: 3 Preemption is not helpful for scheduling."
)


def restarting(ward: Ward, replicas: int) -> None:
    """Engines that take adapters at their start only, and want another set."""
    with ward.cluster.edited(DEPLOYMENT) as found:
        found["spec"] |= {"replicas": replicas, "engine": {"type": "TGI", "gpus": 1}}
    ward.fleet.engine_sets = EngineSets(running=results.digest("1"), wanted=results.digest("1"))
    ward.settle()
    rolled(ward, updated=replicas, pods=replicas)
    ward.fleet.engine_sets = EngineSets(running=results.digest("1"), wanted=results.digest("2"))


def test_no_engine_restarts_while_pods_are_replaced_and_it_is_looked_at_again(ward: Ward) -> None:
    restarting(ward, 2)
    rolled(ward, updated=1, pods=3)
    plan = ward.reconcile()
    assert must(ward.routes()).permit is None
    assert plan.requeue_after == LOOK_AGAIN_SECONDS
    rolled(ward, updated=2, pods=2)
    ward.reconcile()
    assert must(ward.routes()).permit


def test_while_an_engine_restarts_no_pod_leaves_for_another(ward: Ward) -> None:
    restarting(ward, 2)
    ward.reconcile()
    assert must(ward.routes()).permit
    template(ward, FULL)
    ward.cluster.now = later(ward.cluster.now, 61)
    ward.reconcile()
    ward.reconcile()
    assert strategy(ward) == {"maxSurge": 1, "maxUnavailable": 0}
    ward.fleet.engine_sets = EngineSets(running=results.digest("2"), wanted=results.digest("2"))
    for _ in range(3):
        ward.reconcile()
    assert strategy(ward) == {"maxSurge": 0, "maxUnavailable": 1}


def test_a_pod_that_has_just_fallen_silent_is_looked_at_again_soon(ward: Ward) -> None:
    restarting(ward, 2)
    for pod in ward.cluster.objects.values():
        if pod["kind"] == "Pod" and pod["metadata"]["name"] == f"{NAME}-engine-1":
            pod["status"] = resources.ready_status("10.0.0.9")
    ward.fleet.silent = {"10.0.0.9": 0.5}
    assert ward.reconcile().requeue_after == PROVING_SECONDS
    assert must(ward.routes()).permit is None


def no_room(ward: Ward, replicas: int, words: str = FULL) -> None:
    """A roll has begun: another quantization's first pod finds no node."""
    with ward.cluster.edited(DEPLOYMENT) as found:
        found["spec"]["replicas"] = replicas
    ward.settle()
    template(ward, words)


def template(ward: Ward, words: str) -> None:
    """Another template's first pod finds no node."""
    quantize(ward, "None")
    ward.reconcile()
    made, replicas = engine(ward), engine(ward)["spec"]["replicas"]
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    owner = ward.cluster.objects[Key("ReplicaSet", NAMESPACE, f"{NAME}-engine")]
    pod = resources.pod_of(made, owner, f"{NAME}-engine-new")
    ward.put({**pod, "status": {"phase": "Pending", "conditions": [unschedulable]}})
    rolled(ward, updated=1, pods=replicas + 1)


def rolled(ward: Ward, *, updated: int, pods: int, available: int | None = None) -> None:
    """What the Deployment's controller says of it."""
    made = engine(ward)
    made["status"] = {
        "observedGeneration": made["metadata"]["generation"],
        "updatedReplicas": updated,
        "replicas": pods,
        "availableReplicas": pods if available is None else available,
    }


def strategy(ward: Ward) -> Manifest:
    found: Manifest = engine(ward)["spec"]["strategy"]["rollingUpdate"]
    return found


def test_a_roll_that_no_node_has_room_for_goes_on_in_place_once_that_is_said(ward: Ward) -> None:
    no_room(ward, 2)
    ward.reconcile()
    assert ward.said("PodsStarted")[:2] == ("Unknown", "Unschedulable")
    ward.cluster.now = later(ward.cluster.now, 61)
    ward.reconcile()
    assert ward.said()[:2] == ("Unknown", "ReplacingInPlace")
    assert "one at a time, so that 1 of 2 answer meanwhile; no node fits pod" in ward.said("PodsStarted")[2]
    assert strategy(ward) == {"maxSurge": 1, "maxUnavailable": 0}, "the status says so before"
    ward.reconcile()
    assert strategy(ward) == {"maxSurge": 0, "maxUnavailable": 1}
    ward.cluster.vanish(Key("Pod", NAMESPACE, f"{NAME}-engine-new"))
    rolled(ward, updated=1, pods=2)
    ward.settle()
    assert strategy(ward)["maxSurge"] == 0
    assert ward.said()[:2] == ("Unknown", "ReplacingInPlace")
    rolled(ward, updated=2, pods=2, available=1)
    ward.settle()
    assert ward.said()[:2] == ("Unknown", "ReplacingInPlace"), "the last one does not answer yet"
    rolled(ward, updated=2, pods=2)
    ward.settle()
    assert strategy(ward) == {"maxSurge": 1, "maxUnavailable": 0}, "the next roll tries again"
    assert ward.said()[:2] == ("True", "Serving")


def test_the_only_engine_does_not_leave_for_one_that_no_node_may_have(ward: Ward) -> None:
    no_room(ward, 1, NOT_MEANT)
    ward.cluster.now = later(ward.cluster.now, 3600)
    ward.reconcile()
    ward.reconcile()
    assert ward.said("PodsStarted")[:2] == ("Unknown", "Unschedulable")
    assert strategy(ward) == {"maxSurge": 1, "maxUnavailable": 0}


def test_trouble_that_somebody_has_to_mend_is_said_of_a_roll_in_place_too(ward: Ward) -> None:
    no_room(ward, 1)
    ending = {"name": "engine", "restartCount": 3, "state": {}, "lastState": {"terminated": {"exitCode": 1}}}
    trouble(ward, f"{NAME}-engine-0", {"phase": "Running", "initContainerStatuses": [ending]})
    ward.cluster.now = later(ward.cluster.now, 61)
    ward.reconcile()
    ward.reconcile()
    assert ward.said("PodsStarted")[:2] == ("False", "PodCrashing")
    assert strategy(ward)["maxSurge"] == 0, "it does not wait to be announced"


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
    with ward.cluster.edited(DEPLOYMENT) as found:
        found["spec"]["quantization"] = variant


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
    ward.put(resources.adapter("cardiology-v4", variants=("None",)))
    ward.point("cardiology-v4")
    with ward.cluster.edited(DEPLOYMENT) as found:
        found["spec"]["replicas"] = 3
    ward.settle()
    assert engine(ward)["spec"]["replicas"] == 3
    assert ward.said()[1] == "VariantNotAssessed"
    assert "Engine pods are not changed" not in ward.said()[2]
    del ward.cluster.objects[Key("Deployment", NAMESPACE, f"{NAME}-engine")]
    ward.settle()
    assert engine(ward)["spec"]["replicas"] == 3


def test_engine_pods_wait_while_what_answers_has_no_scores_on_the_new_variant(ward: Ward) -> None:
    """Also where the adapter that is asked for has them: nothing could answer while it is not proved."""
    ward.put(resources.adapter("cardiology-v5", variants=("INT8",)))
    quantize(ward, "INT8")
    ward.point("cardiology-v5")
    ward.fleet.verdicts = {"cardiology-v5": Verdict.LOAD_FAILED}
    ward.settle()
    assert agents_variant(ward) == "NF4"
    assert ward.routed() == "cardiology-v1"
    assert "first name an adapter that can be served before and after" in ward.said()[2]


def test_an_engine_that_could_not_serve_is_not_changed_to(ward: Ward) -> None:
    with ward.cluster.edited(DEPLOYMENT) as found:
        found["spec"]["engine"] = {"type": "VLLM"}
    ward.settle()
    assert "VLLM" not in str(engine(ward))
    assert ward.routed() == "cardiology-v1"
    assert ward.said()[:2] == ("False", "EngineCannotServe")
    assert "spec.quantization is NF4: vLLM has no bitsandbytes" in ward.said()[2]
    assert "what is loaded and proved goes on answering" in ward.said()[2]
    quantize(ward, "None")
    ward.settle()
    assert ward.said()[:2] == ("True", "Serving")
    agent = engine(ward)["spec"]["template"]["spec"]["containers"][0]
    assert agent["args"][agent["args"].index("--engine") + 1] == "VLLM"


def test_an_adapter_that_the_engine_does_not_take_is_not_in_the_set(ward: Ward) -> None:
    wide = resources.adapter("cardiology-v4")
    wide["spec"]["lora"]["rank"] = 512
    ward.put(wide)
    with ward.cluster.edited(DEPLOYMENT) as found:
        found["spec"] |= {"engine": {"type": "VLLM"}, "quantization": "None"}
    ward.point("cardiology-v4")
    ward.settle()
    assert ward.routed() == "cardiology-v1"
    assert "cardiology-v4" not in {loaded.adapter for loaded in must(ward.routes()).adapters}
    assert ward.said()[:2] == ("False", "EngineCannotServe")
    assert "Adapter cardiology-v4 has rank 512: with engine.type VLLM it may be 64 at most" in ward.said()[2]


def test_engine_pods_wait_while_what_answers_does_not_fit_the_new_engine(ward: Ward) -> None:
    wide = resources.adapter("cardiology-v4")
    wide["spec"]["lora"]["rank"] = 512
    ward.put(wide)
    ward.point("cardiology-v4")
    ward.settle()
    before = engine(ward)
    with ward.cluster.edited(DEPLOYMENT) as found:
        found["spec"] |= {"engine": {"type": "VLLM"}, "quantization": "None"}
    ward.settle()
    assert (ward.routed(), engine(ward)) == ("cardiology-v4", before)
    assert "Engine pods are not changed while cardiology-v4 answers" in ward.said()[2]


def test_an_object_that_only_carries_our_labels_is_nobodys_business(ward: Ward) -> None:
    """As `kubectl expose` makes it from a Service of ours."""
    ours = ward.cluster.objects[Key("Service", NAMESPACE, NAME)]
    public = {**copy.deepcopy(ours), "metadata": {"name": f"{NAME}-public", "labels": ours["metadata"]["labels"]}}
    ward.put(public)
    ward.settle()
    assert ward.said()[:2] == ("True", "Serving")
    assert Key("Service", NAMESPACE, f"{NAME}-public") in ward.cluster.objects


def test_pods_that_only_carry_our_labels_have_no_say(ward: Ward) -> None:
    """Nor those of a ReplicaSet of somebody else, whatever they point at with a reference that is no controller's."""
    ours = ward.cluster.objects[Key("Pod", NAMESPACE, f"{NAME}-engine-0")]
    theirs = ward.cluster.put({"kind": "ReplicaSet", "metadata": {**ours["metadata"], "name": "theirs"}})
    references: list[list[Manifest]] = [
        [],
        [{"uid": theirs["metadata"]["uid"], "kind": "ReplicaSet", "name": "theirs", "controller": True}],
        [{**ours["metadata"]["ownerReferences"][0], "controller": False}],
    ]
    for number, owners in enumerate(references):
        metadata = {"name": f"forged-{number}", "labels": ours["metadata"]["labels"], "ownerReferences": owners}
        ward.put({"kind": "Pod", "metadata": metadata, "status": resources.ready_status("10.6.6.6")})
    ward.fleet.silent = {"10.6.6.6": 0.0}
    ward.point("cardiology-v2")
    ward.settle()
    assert ward.status()["replicas"] == 1
    assert ward.routed() == "cardiology-v2"


def spoil(ward: Ward, key: Key) -> None:
    """As an object of another release looks to this operator."""
    ward.cluster.objects[key]["spec"]["version"] = "two"


def test_an_adapter_that_cannot_be_read_is_named_and_what_is_loaded_goes_on(ward: Ward) -> None:
    ward.cluster.objects[DEPLOYMENT]["spec"]["departments"]["paediatrics"] = {
        "adapter": "cardiology-v1",
        "keys": {"secretName": "paediatrics-keys"},
    }
    spoil(ward, V2)
    ward.point("cardiology-v2")
    ward.reconcile()
    status, reason, message = ward.said()
    assert (status, reason) == ("False", "AdapterUnreadable")
    assert "spec.departments.cardiology.adapter is 'cardiology-v2': Adapter cardiology-v2 cannot be read" in message
    assert "spec.version: " in message
    assert ward.said("Stalled")[0] == "True"
    assert ward.routed() == "cardiology-v1"
    assert ward.routed("paediatrics") == "cardiology-v1", "others go on"


def test_an_adapter_that_answers_and_can_be_read_no_longer_goes_on_answering(ward: Ward) -> None:
    before = ward.routes()
    spoil(ward, V1)
    ward.reconcile()
    assert ward.routes() == before
    assert ward.said()[:2] == ("False", "AdapterUnreadable")


def test_a_deployment_that_cannot_be_read_still_counts_as_a_user_and_stops_no_other(ward: Ward) -> None:
    ward.put(resources.deployment("second", paediatrics="cardiology-v1"))
    ward.settle()
    ward.cluster.objects[Key("AdapterDeployment", NAMESPACE, "second")]["spec"]["replicas"] = "many"
    ward.reconcile(V1)
    assert ward.used_by(V1) == [NAME, "second"]
    ward.point("cardiology-v2")
    ward.reconcile()
    ward.reconcile()
    assert ward.routed() == "cardiology-v2"


def revision(ward: Ward, number: int) -> Manifest:
    return ward.cluster.objects[Key("ControllerRevision", NAMESPACE, f"{NAME}-{number}")]


@pytest.mark.parametrize("spoilt", [None, {}, {"versions": []}, {"versions": {"cardiology": 7}}])
def test_a_record_of_what_answered_that_cannot_be_read_stops_nothing(ward: Ward, spoilt: Manifest | None) -> None:
    ward.point("cardiology-v2")
    ward.settle()
    revision(ward, 2)["data"] = spoilt
    ward.settle()
    assert revision(ward, 3)["data"]["versions"] == {"cardiology": ["cardiology-v2", "cardiology-v1"]}
    assert ward.said()[:2] == ("True", "Serving")


def test_routes_that_cannot_be_read_are_written_anew(ward: Ward) -> None:
    generation = must(ward.routes()).generation
    ward.cluster.objects[Key("ConfigMap", NAMESPACE, f"{NAME}-routes")]["data"] = {"routes.json": "[]"}
    ward.settle()
    assert ward.routed() == "cardiology-v1"
    assert must(ward.routes()).generation > generation
    assert ward.said()[:2] == ("True", "Serving")


@pytest.mark.parametrize("key", [FORMAT_0_KEY, ROUTES_KEY])
@pytest.mark.parametrize("lost", [True, False])
def test_routes_are_mended_for_the_readers_of_each_format(ward: Ward, key: str, lost: bool) -> None:
    routes = ward.cluster.objects[Key("ConfigMap", NAMESPACE, f"{NAME}-routes")]
    before = dict(routes["data"])
    if lost:
        del routes["data"][key]
    else:
        routes["data"][key] = before[key].replace("cardiology-v1-", "cardiology-v9-")
    ward.settle()
    found = ward.cluster.objects[Key("ConfigMap", NAMESPACE, f"{NAME}-routes")]["data"]
    assert found.keys() == before.keys()
    assert json.loads(found[FORMAT_0_KEY]) == {k: v for k, v in json.loads(found[ROUTES_KEY]).items() if k != "format"}
    assert ward.routed() == "cardiology-v1"


def test_no_reconcile_reads_more_because_the_namespace_has_more(ward: Ward) -> None:
    def reads() -> list[int]:
        found = []
        for key in (DEPLOYMENT, V1):
            before = ward.cluster.reads
            ward.reconcile(key)
            found.append(ward.cluster.reads - before)
        return found

    few = reads()
    for number in range(50):
        ward.put(resources.adapter(f"renal-v{number + 1}"))
        ward.put(resources.deployment(f"other-{number}", renal="renal-v1"))
    assert reads() == few


def test_what_cannot_be_read_says_so_itself_and_keeps_the_rest_of_its_status(ward: Ward) -> None:
    before = copy.deepcopy(ward.status())
    with ward.cluster.edited(DEPLOYMENT) as found:
        found["spec"]["replicas"] = "many"
    ward.cluster.events.clear()
    assert ward.reconcile() == Plan()
    assert ward.said()[:2] == ("Unknown", "ObjectUnreadable")
    assert "cannot read the resource (spec.replicas: " in ward.said()[2]
    assert ward.said("Stalled")[0] == "True"
    del before["observedGeneration"]
    assert {**ward.status(), "conditions": []} == {**before, "conditions": []}
    assert [event["reason"] for event in ward.cluster.events] == ["ObjectUnreadable"]
    writes = ward.cluster.writes
    ward.reconcile()
    assert ward.cluster.writes == writes
    with ward.cluster.edited(DEPLOYMENT) as found:
        found["spec"]["replicas"] = 1
    ward.settle()
    assert ward.said()[:2] == ("True", "Serving")
    assert ward.status()["observedGeneration"] == ward.cluster.objects[DEPLOYMENT]["metadata"]["generation"]


def test_a_run_that_cannot_be_read_has_not_ended_and_one_that_has_ended_stays_so(ward: Ward) -> None:
    heart = Key("FineTuneJob", NAMESPACE, "heart")
    ward.put(resources.run("heart"))
    change_method(ward, heart, {"lora": {}})
    ward.reconcile(heart)
    assert ward.said("Succeeded", heart)[:2] == ("Unknown", "ObjectUnreadable")
    change_method(ward, heart, "LoRA")
    ward.reconcile(heart)
    assert ward.said("Succeeded", heart)[0] == "Unknown"
    assert ward.said("Succeeded", heart)[1] != "ObjectUnreadable"
    ended = next(c for c in ward.status(heart)["conditions"] if c["type"] == "Succeeded")
    ended |= {"status": "True", "reason": "Succeeded"}
    before = copy.deepcopy(ward.status(heart))
    change_method(ward, heart, {"lora": {}})
    ward.reconcile(heart)
    assert ward.status(heart) == before


def change_method(ward: Ward, run: Key, method: object) -> None:
    with ward.cluster.edited(run) as found:
        found["spec"]["method"] = method


def test_a_status_that_cannot_be_read_is_made_again(ward: Ward) -> None:
    before = copy.deepcopy(ward.status())
    ward.status()["departments"] = ["cardiology"]
    ward.reconcile()
    assert ward.status() == before


def test_what_has_no_room_to_stay_warm_is_said_before_anybody_needs_it(ward: Ward) -> None:
    """Of rank 256 each takes 29 MiB, and the base's zeros as much."""
    with ward.cluster.edited(DEPLOYMENT) as found:
        found["spec"]["engine"] = {"type": "Transformers", "adapterMemory": "86Mi"}
    for number in (1, 2, 3):
        wide = resources.adapter(f"cardiology-v{number}")
        wide["spec"]["lora"] |= {"rank": 256, "targetModules": ["all-linear"]}
        ward.put(wide)
    for number in (2, 3):
        ward.settle()
        assert ward.said("AdaptersProved")[2] == "every adapter that answers was proved"
        ward.point(f"cardiology-v{number}")
    ward.settle()
    message = "every adapter that answers was proved; not kept warm, since spec.engine.adapterMemory is 86Mi: "
    assert ward.said("AdaptersProved") == ("True", "Proved", message + "cardiology-v1")
    assert ward.status()["warm"] == "cardiology→cardiology-v2"


def test_the_status_says_what_is_warm_and_what_another_adapter_takes(ward: Ward) -> None:
    assert (ward.status()["warm"], ward.status()["newAdapters"]) == ("cardiology→(none)", "LoadWhileServing")
    ward.point("cardiology-v2")
    ward.settle()
    assert ward.status()["warm"] == "cardiology→cardiology-v1"
    assert ward.status()["departments"]["cardiology"]["warm"] == ["cardiology-v1"]
    ward.fleet.verdicts = {"cardiology-v1": Verdict.WRONG_ADAPTER}
    ward.settle()
    assert ward.status()["departments"]["cardiology"]["previous"] == ["cardiology-v1"]
    assert ward.status()["warm"] == "cardiology→(none)", "no replica answers with it"


def test_what_only_one_replica_has_proved_is_not_warm_unless_it_answered_before(ward: Ward) -> None:
    with ward.cluster.edited(DEPLOYMENT) as found:
        found["spec"]["replicas"] = 2
    ward.settle()
    pod = ward.cluster.objects[Key("Pod", NAMESPACE, f"{NAME}-engine-1")]
    pod["status"] = resources.ready_status("10.0.0.9")
    ward.fleet.silent = {"10.0.0.9": 0.5}
    ward.point("cardiology-v2")
    ward.settle()
    assert ward.status()["departments"]["cardiology"]["wanted"] == "cardiology-v2"
    assert ward.status()["warm"] == "cardiology→(none)"
    ward.fleet.silent = {}
    ward.settle()
    ward.fleet.silent = {"10.0.0.9": 0.5}
    ward.settle()
    assert ward.status()["warm"] == "cardiology→cardiology-v1"
