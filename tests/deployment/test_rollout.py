"""When routes move, and to what; decided here, without a cluster."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import resources, results

from wardrobe.api.adapter import USERS_LIMIT, AdapterResource
from wardrobe.api.adapterdeployment import AdapterDeploymentSpec
from wardrobe.api.reasons import Done, Waiting
from wardrobe.deployment import proofs
from wardrobe.deployment.children.revision import History, history, next_revision
from wardrobe.deployment.proofs import Replica, RouterPod, unreached
from wardrobe.deployment.rollout import Inputs, Rollout, roll_out
from wardrobe.deployment.status import applied
from wardrobe.plan.drift import differs, stamped
from wardrobe_contracts.routes import Routes, engine_adapter_name
from wardrobe_contracts.state import (
    AdapterState,
    AgentState,
    BackendState,
    EngineSets,
    EngineState,
    Reason,
    RouterState,
    Verdict,
)

BASE = results.digest("a")
TIME = "2026-01-01T00:00:00Z"


def digest_of(name: str) -> str:
    digest: str = resources.adapter(name)["spec"]["digest"]
    return digest


def adapter(
    name: str,
    *,
    base: str = BASE,
    variants: tuple[str, ...] = ("None", "NF4"),
    used_by: tuple[str, ...] = ("tantanila",),
) -> AdapterResource:
    manifest = resources.adapter(name, base=base, variants=variants)
    return AdapterResource.parse(resources.stored(manifest, uid=name, usedBy=list(used_by)))


def engine_name(name: str) -> str:
    return engine_adapter_name(name, digest_of(name))


def replica(name: str = "engine-0", *, ready: bool = True, **verdicts: Verdict) -> Replica:
    """A replica and its verdict on each adapter; keys are Adapter names with `_` for `-`."""
    adapters = {
        engine_name(key.replace("_", "-")): AdapterState(
            digest=digest_of(key.replace("_", "-")),
            verdict=verdict,
            reason=Reason.PROVED if verdict is Verdict.APPLIED else Reason.ANSWERS_AS_BASE,
            served=verdict is Verdict.APPLIED,
            since=TIME,
        )
        for key, verdict in verdicts.items()
    }
    state = AgentState(
        deployment="tantanila",
        generation=1,
        incarnation="x",
        ready=ready,
        draining=False,
        engine=EngineState(up=True, since=TIME),
        adapters=adapters,
    )
    return Replica(name, ready=ready, state=state)


def spec(**departments: str) -> AdapterDeploymentSpec:
    wanted = {name: {"adapter": adapter, "keys": {"secretName": "k"}} for name, adapter in departments.items()}
    return AdapterDeploymentSpec.model_validate(
        {"baseModel": {"name": "base"}, "quantization": "NF4", "departments": wanted}
    )


V1, V2 = adapter("cardiology-v1"), adapter("cardiology-v2")


def inputs(
    wanted: AdapterDeploymentSpec,
    *replicas: Replica,
    current: Routes | None = None,
    history: History | None = None,
    adapters: tuple[AdapterResource, ...] = (V1, V2),
) -> Inputs:
    by_name = {found.metadata.name: found for found in adapters}
    return Inputs("tantanila", wanted, BASE, by_name, history, current, replicas)


def serving(wanted: AdapterDeploymentSpec, *replicas: Replica, **more: Any) -> Rollout:
    return roll_out(inputs(wanted, *replicas, **more), 1)


def routed(rolled: Rollout) -> dict[str, str | None]:
    return {name: route.engine_name for name, route in rolled.routes.departments.items()}


ON_V1 = serving(spec(cardiology="cardiology-v1"), replica(cardiology_v1=Verdict.APPLIED)).routes
HISTORY = History(1, {"cardiology": ["cardiology-v1"]})
TO_V2 = spec(cardiology="cardiology-v2")

STORIES = [
    ("no replica yet", [], None, Waiting.NO_REPLICA_READY),
    ("a replica that is not ready", [replica(ready=False)], None, Waiting.NO_REPLICA_READY),
    ("a ready one that has not proved it", [replica()], None, Waiting.PROVING),
    ("one that says nothing", [Replica("engine-0", ready=True, state=None)], None, Waiting.PROVING),
    ("one that proved it", [replica(cardiology_v1=Verdict.APPLIED)], "cardiology-v1", Done.PROVED),
    (
        "two of which one has proved it",
        [replica(cardiology_v1=Verdict.APPLIED), replica("engine-1")],
        None,
        Waiting.PROVING,
    ),
    (
        "one that proved it beside one that is not ready",
        [replica(cardiology_v1=Verdict.APPLIED), replica("engine-1", ready=False)],
        "cardiology-v1",
        Done.PROVED,
    ),
    (
        "one that proved it beside one that nobody reaches",
        [replica(cardiology_v1=Verdict.APPLIED), Replica("engine-1", ready=True, state=None, unreached=True)],
        "cardiology-v1",
        Done.PROVED,
    ),
    (
        "one that proved it beside one that has only just fallen silent",
        [replica(cardiology_v1=Verdict.APPLIED), Replica("engine-1", ready=True, state=None)],
        None,
        Waiting.PROVING,
    ),
    (
        "only one that nobody reaches",
        [Replica("engine-0", ready=True, state=None, unreached=True)],
        None,
        Waiting.NO_REPLICA_READY,
    ),
    ("one that shows it is not applied", [replica(cardiology_v1=Verdict.NOT_APPLIED)], None, Waiting.NOT_PROVED),
    ("files that changed", [replica(cardiology_v1=Verdict.DIGEST_MISMATCH)], None, Waiting.NOT_PROVED),
]


@pytest.mark.parametrize(
    ("replicas", "expected", "reason"), [story[1:] for story in STORIES], ids=[story[0] for story in STORIES]
)
def test_a_first_adapter_is_routed_when_proved(
    replicas: list[Replica], expected: str | None, reason: Waiting | Done
) -> None:
    rolled = serving(spec(cardiology="cardiology-v1"), *replicas)
    assert routed(rolled) == {"cardiology": engine_name(expected) if expected else None}
    assert rolled.departments["cardiology"].reason == reason


def test_the_old_adapter_answers_until_the_new_one_is_proved() -> None:
    rolled = serving(TO_V2, replica(cardiology_v1=Verdict.APPLIED), current=ON_V1, history=HISTORY)
    assert routed(rolled) == {"cardiology": engine_name("cardiology-v1")}
    assert {found.adapter for found in rolled.routes.adapters} == {"cardiology-v1", "cardiology-v2"}
    both = replica(cardiology_v1=Verdict.APPLIED, cardiology_v2=Verdict.APPLIED)
    moved = serving(TO_V2, both, current=rolled.routes, history=HISTORY)
    assert routed(moved) == {"cardiology": engine_name("cardiology-v2")}
    assert moved.departments["cardiology"].previous == ["cardiology-v1"]
    assert {found.adapter for found in moved.routes.adapters} == {"cardiology-v1", "cardiology-v2"}


ON_V2 = serving(TO_V2, replica(cardiology_v2=Verdict.APPLIED)).routes
BOTH = History(2, {"cardiology": ["cardiology-v2", "cardiology-v1"]})
SILENT = Replica("engine-1", ready=True, state=None)

BACK = [
    ("all serve it", [replica(cardiology_v1=Verdict.APPLIED)], True),
    ("one serves it, one says nothing", [replica(cardiology_v1=Verdict.APPLIED), SILENT], True),
    ("one serves it, one is still loading it", [replica(), replica(cardiology_v1=Verdict.APPLIED)], True),
    (
        "one serves it, one doubts it",
        [replica(cardiology_v1=Verdict.APPLIED), replica("engine-1", cardiology_v1=Verdict.WRONG_ADAPTER)],
        True,
    ),
    ("none serves it", [replica(cardiology_v2=Verdict.APPLIED), SILENT], False),
    ("who serves it is not ready", [replica(cardiology_v1=Verdict.APPLIED, ready=False)], False),
    ("nobody is there", [], False),
]


@pytest.mark.parametrize(("replicas", "moves"), [story[1:] for story in BACK], ids=[story[0] for story in BACK])
def test_a_department_goes_back_as_soon_as_one_replica_serves_the_adapter(replicas: list[Replica], moves: bool) -> None:
    rolled = serving(spec(cardiology="cardiology-v1"), *replicas, current=ON_V2, history=BOTH)
    assert routed(rolled) == {"cardiology": engine_name("cardiology-v1" if moves else "cardiology-v2")}


def test_an_adapter_that_answered_for_another_department_is_new_to_this_one() -> None:
    past = History(2, {"cardiology": ["cardiology-v2"], "paediatrics": ["cardiology-v1"]})
    one = replica(cardiology_v1=Verdict.APPLIED, cardiology_v2=Verdict.APPLIED)
    rolled = serving(spec(cardiology="cardiology-v1"), one, replica("engine-1"), current=ON_V2, history=past)
    assert routed(rolled) == {"cardiology": engine_name("cardiology-v2")}


def router(*, ready: bool = True, generation: int | None = None, reaches: str | None = None) -> RouterPod:
    """A router that works by the routes of a generation, or says nothing."""
    if generation is None:
        return RouterPod("router", None, ready)
    backends = [BackendState(address=reaches, answering=True)] if reaches else []
    state = RouterState(
        deployment="tantanila",
        generation=generation,
        incarnation="x",
        ready=ready,
        draining=False,
        connected=True,
        backends=backends,
        keys={},
        missing_keys=[],
        duplicate_keys=[],
    )
    return RouterPod("router", state, ready)


@pytest.mark.parametrize(
    ("silent", "routers", "lost"),
    [
        (0.0, [], False),
        (1.9, [], False),
        (2.0, [], True),
        (60.0, [router(generation=1)], True),
        (60.0, [router(generation=1), router(generation=1, reaches="10.0.0.7:8080")], False),
        (60.0, [router(generation=1, reaches="10.0.0.70:8080")], True),
    ],
)
def test_a_pod_is_unreached_when_neither_operator_nor_routers_reach_it(
    silent: float, routers: list[RouterPod], lost: bool
) -> None:
    assert unreached("10.0.0.7", silent, routers) is lost


def test_a_pod_is_known_by_its_address_of_either_family() -> None:
    assert not unreached("fd00::7", 60.0, [router(generation=1, reaches="[fd00::7]:8080")])


@pytest.mark.parametrize(
    ("routers", "expected"),
    [
        ([], False),
        ([router(generation=1)], True),
        ([router(generation=1), router()], False),
        ([router(generation=1), router(ready=False)], True),
        ([router(generation=1), router(generation=0, ready=False)], False),
        ([router(ready=False)], False),
    ],
)
def test_routes_are_applied_by_all_routers_that_requests_may_come_through(
    routers: list[RouterPod], expected: bool
) -> None:
    assert applied(ON_V1, routers) is expected


verdicts = st.sampled_from([Verdict.APPLIED, Verdict.PENDING, Verdict.WRONG_ADAPTER])
pods = st.builds(
    lambda number, ready, silent, unreached, v1, v2: Replica(
        f"engine-{number}",
        ready=ready,
        state=None if silent or unreached else replica(cardiology_v1=v1, cardiology_v2=v2).state,
        unreached=unreached,
    ),
    *(st.integers(0, 9), st.booleans(), st.booleans(), st.booleans(), verdicts, verdicts),
)


@given(st.lists(pods, max_size=4), st.sampled_from([HISTORY, BOTH]), st.sampled_from([ON_V1, ON_V2]))
def test_what_answers_is_served_somewhere_and_what_moved_stays(
    fleet: list[Replica], past: History, current: Routes
) -> None:
    """Deciding again on the routes just made changes nothing: a rollout comes to rest wherever it stands."""
    rolled = serving(TO_V2, *fleet, current=current, history=past)
    moved = rolled.routes.departments != current.departments
    if moved:
        assert proofs.served(engine_name("cardiology-v2"), fleet)
    assert roll_out(inputs(TO_V2, *fleet, current=rolled.routes, history=past), 9).routes == rolled.routes


def test_an_adapter_that_is_refused_changes_nothing_but_what_is_said() -> None:
    foreign = adapter("cardiology-v2", base=results.digest("9"))
    unassessed = adapter("cardiology-v2", variants=("None",))
    live = replica(cardiology_v1=Verdict.APPLIED)
    for adapters, reason in (
        ((V1,), Waiting.ADAPTER_NOT_FOUND),
        ((V1, foreign), Waiting.ADAPTER_NOT_READY),
        ((V1, unassessed), Waiting.VARIANT_NOT_ASSESSED),
    ):
        rolled = serving(TO_V2, live, current=ON_V1, history=HISTORY, adapters=adapters)
        assert routed(rolled) == {"cardiology": engine_name("cardiology-v1")}
        assert [found.adapter for found in rolled.routes.adapters] == ["cardiology-v1"]
        assert rolled.departments["cardiology"].reason == reason
        assert "spec.departments.cardiology.adapter" in rolled.departments["cardiology"].message


RULE = {"metric": "Loss", "against": "Incumbent", "maxRegression": "0.02", "outcome": "Failed"}
COMPARED = {
    "variant": "NF4",
    "adapter": "cardiology-v1",
    "reference": "2.4",
    "candidate": "2.48",
    "regression": "0.0333",
}


def judged(name: str, verdict: str, **rule: str) -> AdapterResource:
    manifest = resources.adapter(name)
    manifest["spec"] |= {"verdict": verdict, "gate": [RULE | (rule or COMPARED)]}
    return AdapterResource.parse(resources.stored(manifest, uid=name, usedBy=["tantanila"]))


def accepting(digest: str | None, adapter: str = "cardiology-v2", **others: str) -> AdapterDeploymentSpec:
    wanted = spec(cardiology=adapter, **others)
    found = wanted.departments["cardiology"].model_copy(update={"accept_rejected": digest})
    return wanted.model_copy(update={"departments": {**wanted.departments, "cardiology": found}})


PROVES_BOTH = replica(cardiology_v1=Verdict.APPLIED, cardiology_v2=Verdict.APPLIED)


@pytest.mark.parametrize(
    ("verdict", "accepted", "answers"),
    [
        ("Accepted", None, "cardiology-v2"),
        ("Accepted", digest_of("cardiology-v1"), "cardiology-v2"),
        ("Rejected", None, "cardiology-v1"),
        ("Rejected", digest_of("cardiology-v1"), "cardiology-v1"),
        ("Rejected", digest_of("cardiology-v2"), "cardiology-v2"),
    ],
)
def test_who_is_answered_by_a_version_with_a_verdict(verdict: str, accepted: str | None, answers: str) -> None:
    adapters = (V1, judged("cardiology-v2", verdict))
    rolled = serving(accepting(accepted), PROVES_BOTH, current=ON_V1, history=HISTORY, adapters=adapters)
    assert routed(rolled) == {"cardiology": engine_name(answers)}
    refused = rolled.departments["cardiology"].reason is Waiting.ADAPTER_REJECTED
    assert refused == (answers == "cardiology-v1")
    assert ("cardiology-v2" in {found.adapter for found in rolled.routes.adapters}) != refused, "nor is it loaded"


def test_why_a_rejected_version_does_not_answer_and_what_would_make_it() -> None:
    rejected = judged("cardiology-v2", "Rejected")
    rolled = serving(TO_V2, PROVES_BOTH, current=ON_V1, history=HISTORY, adapters=(V1, rejected))
    assert rolled.departments["cardiology"].message == (
        "spec.departments.cardiology.adapter is 'cardiology-v2': its gate rejected Adapter cardiology-v2 (Loss on NF4 "
        "is 2.48 where cardiology-v1 has 2.4: +3.3%, and +2.0% is allowed). Name another adapter; or, to have this one "
        "all the same, set spec.departments.cardiology.acceptRejected to "
        f"{digest_of('cardiology-v2')}; cardiology-v1 goes on answering"
    )
    unknown = judged("cardiology-v2", "Rejected", adapter="cardiology-v1", message="it is gone")
    rolled = serving(TO_V2, PROVES_BOTH, current=ON_V1, history=HISTORY, adapters=(V1, unknown))
    assert "(Loss against cardiology-v1: it is gone)" in rolled.departments["cardiology"].message


def test_one_department_accepts_only_for_itself() -> None:
    adapters = (V1, judged("cardiology-v2", "Rejected"))
    wanted = accepting(digest_of("cardiology-v2"), night="cardiology-v2")
    rolled = serving(wanted, PROVES_BOTH, current=ON_V1, history=HISTORY, adapters=adapters)
    assert routed(rolled) == {"cardiology": engine_name("cardiology-v2"), "night": None}
    [loaded] = [found for found in rolled.routes.adapters if found.adapter == "cardiology-v2"]
    assert loaded.departments == ["cardiology"]


def test_an_acceptance_that_is_withdrawn_takes_no_answers_away() -> None:
    adapters = (V1, judged("cardiology-v2", "Rejected"))
    before = serving(
        accepting(digest_of("cardiology-v2")), PROVES_BOTH, current=ON_V1, history=HISTORY, adapters=adapters
    ).routes
    past = History(2, {"cardiology": ["cardiology-v2", "cardiology-v1"]})
    rolled = serving(accepting(None), PROVES_BOTH, current=before, history=past, adapters=adapters)
    assert routed(rolled) == {"cardiology": engine_name("cardiology-v2")}
    assert rolled.departments["cardiology"].reason is Waiting.ADAPTER_REJECTED
    assert rolled.routes == before


def test_a_version_that_was_found_too_large_for_the_variant_says_so() -> None:
    manifest = resources.adapter("cardiology-v2", variants=("None",))
    lost = {"variant": "NF4", "reason": "OutOfMemory", "message": "it needs 90 GiB"}
    manifest["spec"]["notAssessed"] = [lost]
    found = AdapterResource.parse(resources.stored(manifest))
    rolled = serving(TO_V2, PROVES_BOTH, current=ON_V1, history=HISTORY, adapters=(V1, found))
    assert "was not assessed on NF4 (it needs 90 GiB), so" in rolled.departments["cardiology"].message


def test_an_adapter_that_can_name_no_more_users_waits() -> None:
    both = replica(cardiology_v1=Verdict.APPLIED, cardiology_v2=Verdict.APPLIED)
    full = adapter("cardiology-v2", used_by=tuple(f"other-{number}" for number in range(USERS_LIMIT)))
    rolled = serving(TO_V2, both, current=ON_V1, history=HISTORY, adapters=(V1, full))
    assert routed(rolled) == {"cardiology": engine_name("cardiology-v1")}
    assert rolled.departments["cardiology"].reason == Waiting.MARKING_IN_USE
    assert "names 100 AdapterDeployments, and no more fit" in rolled.departments["cardiology"].message
    assert "; cardiology-v1 goes on" in rolled.departments["cardiology"].message


def test_what_is_routed_stays_routed_while_its_adapters_status_is_wiped() -> None:
    live = replica(cardiology_v1=Verdict.APPLIED)
    wiped = adapter("cardiology-v1", used_by=())
    rolled = serving(spec(cardiology="cardiology-v1"), live, current=ON_V1, history=HISTORY, adapters=(wiped,))
    assert rolled.routes == ON_V1
    assert rolled.departments["cardiology"].reason == Done.PROVED


def test_a_routed_adapter_that_somebody_deletes_goes_on_answering() -> None:
    live = replica(cardiology_v1=Verdict.APPLIED)
    rolled = serving(spec(cardiology="cardiology-v1"), live, current=ON_V1, history=HISTORY, adapters=())
    assert rolled.routes == ON_V1
    assert rolled.departments["cardiology"].reason == Waiting.ADAPTER_NOT_FOUND


def test_routes_that_somebody_deletes_come_back_from_history() -> None:
    live = replica(cardiology_v1=Verdict.APPLIED)
    rolled = serving(TO_V2, live, current=None, history=HISTORY)
    assert routed(rolled) == {"cardiology": engine_name("cardiology-v1")}


def test_nothing_is_called_served_while_no_replica_is_ready() -> None:
    wanted = spec(cardiology="cardiology-v1")
    for replicas, reason in (((), Waiting.NO_REPLICA_READY), ((replica(),), Waiting.PROVING)):
        rolled = serving(wanted, *replicas, current=ON_V1, history=HISTORY)
        assert routed(rolled) == {"cardiology": engine_name("cardiology-v1")}
        assert rolled.departments["cardiology"].reason == reason


def test_an_unchanged_world_has_unchanged_routes() -> None:
    live = replica(cardiology_v1=Verdict.APPLIED)
    again = roll_out(inputs(spec(cardiology="cardiology-v1"), live, current=ON_V1, history=HISTORY), 2)
    assert again.routes == ON_V1


def test_a_routed_adapter_that_a_replica_doubts_stays_and_is_said() -> None:
    doubting = replica("engine-1", cardiology_v1=Verdict.WRONG_ADAPTER)
    rolled = serving(spec(cardiology="cardiology-v1"), doubting, current=ON_V1, history=HISTORY)
    assert routed(rolled) == {"cardiology": engine_name("cardiology-v1")}
    assert rolled.departments["cardiology"].reason == Waiting.NOT_PROVED


def test_only_as_many_previous_adapters_are_kept_as_asked_for() -> None:
    past = History(9, {"cardiology": ["cardiology-v1", "cardiology-v4", "cardiology-v3", "cardiology-v2"]})
    adapters = tuple(adapter(f"cardiology-v{number}") for number in (1, 2, 3))
    live = replica(cardiology_v1=Verdict.APPLIED)
    wanted = spec(cardiology="cardiology-v1")
    rolled = serving(wanted, live, current=ON_V1, history=past, adapters=adapters)
    assert rolled.departments["cardiology"].previous == ["cardiology-v3", "cardiology-v2"], "v4 was deleted"


@given(st.lists(st.sampled_from(["cardiology-v1", "cardiology-v2", "cardiology-v3"]), min_size=1, max_size=12))
def test_history_knows_each_adapter_once_the_latest_first(flips: list[str]) -> None:
    latest: History | None = None
    for number, name in enumerate(flips):
        added = next_revision(latest, {"cardiology": name})
        if added is None:
            assert number
            assert flips[number - 1] == name
        latest = history([added]) if added else latest
    assert latest is not None
    known = latest.adapters["cardiology"]
    assert known[0] == flips[-1]
    assert sorted(known) == sorted(set(flips))


def test_what_the_api_adds_is_no_drift_and_what_somebody_changes_is() -> None:
    wanted: dict[str, Any] = {
        "kind": "X",
        "metadata": {"name": "a"},
        "spec": {"replicas": 2, "list": [{"a": 1}], "empty": {}},
    }
    found = stamped(wanted)
    found = {**found, "status": {}, "spec": {"replicas": 2, "list": [{"a": 1, "b": "defaulted"}], "more": 1}}
    assert not differs(wanted, found)
    assert differs(wanted, None)
    assert differs(wanted, {**found, "spec": {**found["spec"], "replicas": 3}})
    assert differs({**wanted, "spec": {**wanted["spec"], "resources": {"cpu": "1"}}}, found), "quantities by digest"


def starts_anew(found: Replica, running: str, wanted: str, *, restarting: bool = False) -> Replica:
    """The replica with an engine that takes adapters only at its start."""
    sets = EngineSets(running=running, wanted=wanted, restarting=restarting, start_seconds=30)
    assert found.state
    awaiting = AdapterState(
        digest=digest_of("cardiology-v2"),
        verdict=Verdict.PENDING,
        reason=Reason.AWAITING_RESTART,
        served=False,
        since=TIME,
    )
    adapters = {engine_name("cardiology-v2"): awaiting} | found.state.adapters
    update = {"engine_sets": sets, "incarnation": f"agent of {found.name}", "adapters": adapters}
    state = found.state.model_copy(update=update)
    return replace(found, state=state)


OLD_SET, NEW_SET = results.digest("1"), results.digest("2")
ONLY = starts_anew(replica(cardiology_v1=Verdict.APPLIED), OLD_SET, NEW_SET)
PAIR = (ONLY, starts_anew(replica("engine-1", cardiology_v1=Verdict.APPLIED), OLD_SET, NEW_SET))
WITH_V2 = serving(TO_V2, replica(cardiology_v1=Verdict.APPLIED), current=ON_V1, history=HISTORY).routes


def two_replicas() -> AdapterDeploymentSpec:
    return TO_V2.model_copy(update={"replicas": 2})


def test_an_adapter_waits_until_one_engine_after_the_other_has_restarted_with_it() -> None:
    rolled = serving(two_replicas(), *PAIR, current=WITH_V2, history=HISTORY)
    assert rolled.routes.permit
    assert (rolled.routes.permit.pod, rolled.routes.permit.engine_set) == ("engine-0", NEW_SET)
    found = rolled.departments["cardiology"]
    assert (found.routed, found.reason) == ("cardiology-v1", Waiting.ENGINE_RESTARTING)
    assert "cardiology-v2 waits until engine engine-0 has restarted with it (1 of 2)" in found.message
    assert found.message.endswith("; cardiology-v1 goes on answering")


def test_a_permit_is_a_new_generation_by_which_nobody_answers_otherwise() -> None:
    rolled = roll_out(inputs(two_replicas(), *PAIR, current=WITH_V2, history=HISTORY), 7)
    assert (rolled.routes.generation, rolled.routes.answering_since) == (7, WITH_V2.generation)
    for generation, expected in ((WITH_V2.generation, True), (7, True), (WITH_V2.generation - 1, False), (8, False)):
        assert applied(rolled.routes, [router(generation=generation)]) is expected
    back = roll_out(inputs(spec(cardiology="cardiology-v1"), current=rolled.routes, history=HISTORY), 8)
    assert (back.routes.generation, back.routes.answering_since) == (8, None), "other adapters are loaded"
    assert not applied(back.routes, [router(generation=7)])


@pytest.mark.parametrize("announced", [False, True])
def test_the_only_engine_restarts_once_the_gap_is_announced(announced: bool) -> None:
    asked = replace(inputs(TO_V2, ONLY, current=WITH_V2, history=HISTORY), gap_announced=announced)
    rolled = roll_out(asked, 9)
    assert (rolled.routes.permit is not None) is announced
    found = rolled.departments["cardiology"]
    assert found.reason == Waiting.ONLY_ENGINE_RESTARTING
    assert "engine engine-0, the only one, restarts: requests get 503 with Retry-After for about 30 s" in found.message
    assert "goes on answering" not in found.message


def test_a_gap_is_announced_to_departments_that_wait_for_nothing() -> None:
    """More of the past is to be kept, and the engine restarts for it."""
    rolled = serving(spec(cardiology="cardiology-v1"), ONLY, current=ON_V1, history=HISTORY)
    assert rolled.routes.permit is None
    assert rolled.departments["cardiology"].reason == Waiting.ONLY_ENGINE_RESTARTING
    assert (
        "cardiology-v1 is routed, and engine engine-0, the only one, restarts"
        in rolled.departments["cardiology"].message
    )


def test_only_what_waits_for_a_restart_is_said_to() -> None:
    """Two engines restart to forget a third adapter, and have proved the wanted one, or are about to."""
    fetching = replica("engine-1", cardiology_v1=Verdict.APPLIED)
    pair = (without_v2(PAIR[0]), without_v2(starts_anew(fetching, OLD_SET, NEW_SET)))
    found = serving(two_replicas(), *pair, current=WITH_V2, history=HISTORY).departments["cardiology"]
    assert found.reason == Waiting.PROVING
    assert "cardiology-v2 is being loaded and proved" in found.message


def without_v2(found: Replica) -> Replica:
    """Its agent has nothing to say of cardiology-v2 yet."""
    assert found.state
    adapters = {name: state for name, state in found.state.adapters.items() if name != engine_name("cardiology-v2")}
    return replace(found, state=found.state.model_copy(update={"adapters": adapters}))


def test_a_silent_engine_that_has_the_permit_is_said_to_be_so() -> None:
    begun = serving(two_replicas(), *PAIR, current=WITH_V2, history=HISTORY).routes
    silent = replace(PAIR[0], state=None)
    found = serving(two_replicas(), silent, PAIR[1], current=begun, history=HISTORY).departments["cardiology"]
    assert "It does not answer; delete pod engine-0 if it is gone" in found.message


def test_an_engine_that_cannot_be_spared_says_so() -> None:
    rolled = serving(two_replicas(), ONLY, current=WITH_V2, history=HISTORY)
    assert rolled.routes.permit is None
    assert (
        "cardiology-v2 waits: engine engine-0 would restart, and is the only one"
        in rolled.departments["cardiology"].message
    )


def written_by_hand(name: str, status: str | None) -> AdapterResource:
    """Whose files are verified, or not (yet)."""
    said = {"type": "Ready", "status": status, "reason": "x", "message": "spec.digest is …", "lastTransitionTime": TIME}
    known: dict[str, Any] = {"conditions": [said]} if status else {}
    manifest = resources.by_hand(resources.adapter(name))
    return AdapterResource.parse(resources.stored(manifest, uid=name, usedBy=["tantanila"], **known))


@pytest.mark.parametrize(
    ("status", "answers"),
    [(None, "cardiology-v1"), ("Unknown", "cardiology-v1"), ("False", "cardiology-v1"), ("True", "cardiology-v2")],
)
def test_an_adapter_by_hand_answers_once_its_files_are_verified(status: str | None, answers: str) -> None:
    adapters = (V1, written_by_hand("cardiology-v2", status))
    rolled = serving(TO_V2, PROVES_BOTH, current=ON_V1, history=HISTORY, adapters=adapters)
    assert routed(rolled) == {"cardiology": engine_name(answers)}
    refused = rolled.departments["cardiology"].reason is Waiting.ADAPTER_NOT_READY
    assert refused == (answers == "cardiology-v1")
    assert ("cardiology-v2" in {found.adapter for found in rolled.routes.adapters}) != refused, "nor is it loaded"


def test_why_an_adapter_by_hand_is_not_loaded() -> None:
    adapters = (V1, written_by_hand("cardiology-v2", "False"))
    rolled = serving(TO_V2, PROVES_BOTH, current=ON_V1, history=HISTORY, adapters=adapters)
    assert rolled.departments["cardiology"].message == (
        "spec.departments.cardiology.adapter is 'cardiology-v2': Adapter cardiology-v2, which was written by hand, is "
        "not Ready: spec.digest is …; cardiology-v1 goes on answering"
    )
    unsaid = (V1, written_by_hand("cardiology-v2", None))
    rolled = serving(TO_V2, PROVES_BOTH, current=ON_V1, history=HISTORY, adapters=unsaid)
    assert "is not Ready: its files are not verified yet" in rolled.departments["cardiology"].message


def test_what_is_loaded_goes_on_whatever_a_status_has_lost() -> None:
    """It was proved; and a status may be wiped."""
    wiped = written_by_hand("cardiology-v1", None)
    proves = replica(cardiology_v1=Verdict.APPLIED)
    rolled = serving(spec(cardiology="cardiology-v1"), proves, current=ON_V1, history=HISTORY, adapters=(wiped, V2))
    assert rolled.routes == ON_V1
    assert rolled.departments["cardiology"].reason is Done.PROVED
    both = serving(TO_V2, PROVES_BOTH, current=ON_V1, history=HISTORY, adapters=(wiped, V2))
    assert both.departments["cardiology"].previous == ["cardiology-v1"], "and can be gone back to"
