"""Routes move only to what every ready replica has proved; what they move to is decided here, without a cluster."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import results

from wardrobe.api.adapter import AdapterResource
from wardrobe.api.adapterdeployment import AdapterDeploymentSpec
from wardrobe.api.reasons import Done, Waiting
from wardrobe.plan.drift import differs, stamped
from wardrobe.plan.proofs import Replica
from wardrobe.plan.rollout import Ground, Rollout, rollout
from wardrobe.resources.revision import Revision, next_revision
from wardrobe_contracts.routes import Routes, version_name
from wardrobe_contracts.state import AgentState, EngineState, Reason, Verdict, VersionState

BASE = results.digest("a")
TIME = "2026-01-01T00:00:00Z"


def digest_of(name: str) -> str:
    number = int(name.rpartition("-v")[2])
    return f"sha256:{number:08x}{'0' * 55}{len(name) % 10}"


def adapter(
    name: str,
    *,
    base: str = BASE,
    variants: tuple[str, ...] = ("None", "NF4"),
    used_by: tuple[str, ...] = ("tantanila",),
) -> AdapterResource:
    score = {"loss": "2.0", "perplexity": "7.4", "bodyLoss": "2.0", "bodyPerplexity": "7.4"}
    line, _, version = name.rpartition("-v")
    spec: dict[str, Any] = {
        "line": line,
        "version": int(version),
        "artifact": {"path": f"adapters/{line}/{name}"},
        "digest": digest_of(name),
        "manifestDigest": results.digest("f"),
        "baseModel": {"name": "base", "digest": base},
        "lora": {"rank": 4, "alpha": 8, "dropout": "0", "targetModules": ["q_proj"]},
        "evaluations": [
            {"variant": v, "base": score, "candidate": score, "tokens": 10, "bodyTokens": 8} for v in variants
        ],
    }
    metadata = {"name": name, "namespace": "ward", "uid": name}
    return AdapterResource.parse({"metadata": metadata, "spec": spec, "status": {"usedBy": list(used_by)}})


def version(name: str) -> str:
    return version_name(name, digest_of(name))


def replica(name: str = "engine-0", *, ready: bool = True, **verdicts: Verdict) -> Replica:
    """A replica and its verdict on each version; keys are Adapter names with `_` for `-`."""
    versions = {
        version(key.replace("_", "-")): VersionState(
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
        versions=versions,
    )
    return Replica(name, ready=ready, state=state)


def spec(**departments: str) -> AdapterDeploymentSpec:
    wanted = {name: {"adapter": adapter, "keys": {"secretName": "k"}} for name, adapter in departments.items()}
    return AdapterDeploymentSpec.model_validate(
        {"baseModel": {"name": "base"}, "quantization": "NF4", "departments": wanted}
    )


V1, V2 = adapter("cardiology-v1"), adapter("cardiology-v2")


def ground(
    wanted: AdapterDeploymentSpec,
    *replicas: Replica,
    current: Routes | None = None,
    history: Revision | None = None,
    adapters: tuple[AdapterResource, ...] = (V1, V2),
) -> Ground:
    by_name = {found.metadata.name: found for found in adapters}
    return Ground("tantanila", wanted, BASE, by_name, history, current, replicas)


def serving(wanted: AdapterDeploymentSpec, *replicas: Replica, **more: Any) -> Rollout:
    return rollout(ground(wanted, *replicas, **more), 1)


def routed(going: Rollout) -> dict[str, str | None]:
    return {name: route.version for name, route in going.routes.departments.items()}


ON_V1 = serving(spec(cardiology="cardiology-v1"), replica(cardiology_v1=Verdict.APPLIED)).routes
HISTORY = Revision(1, {"cardiology": ["cardiology-v1"]})
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
    ("one that shows it is not applied", [replica(cardiology_v1=Verdict.NOT_APPLIED)], None, Waiting.NOT_PROVED),
    ("files that changed", [replica(cardiology_v1=Verdict.DIGEST_MISMATCH)], None, Waiting.NOT_PROVED),
]


@pytest.mark.parametrize(
    ("replicas", "expected", "reason"), [story[1:] for story in STORIES], ids=[story[0] for story in STORIES]
)
def test_a_first_version_is_routed_when_proved(
    replicas: list[Replica], expected: str | None, reason: Waiting | Done
) -> None:
    going = serving(spec(cardiology="cardiology-v1"), *replicas)
    assert routed(going) == {"cardiology": version(expected) if expected else None}
    assert going.departments["cardiology"].reason == reason


def test_the_old_version_answers_until_the_new_one_is_proved() -> None:
    going = serving(TO_V2, replica(cardiology_v1=Verdict.APPLIED), current=ON_V1, history=HISTORY)
    assert routed(going) == {"cardiology": version("cardiology-v1")}
    assert {found.adapter for found in going.routes.adapters} == {"cardiology-v1", "cardiology-v2"}
    both = replica(cardiology_v1=Verdict.APPLIED, cardiology_v2=Verdict.APPLIED)
    moved = serving(TO_V2, both, current=going.routes, history=HISTORY)
    assert routed(moved) == {"cardiology": version("cardiology-v2")}
    assert moved.departments["cardiology"].previous == ["cardiology-v1"]
    assert {found.adapter for found in moved.routes.adapters} == {"cardiology-v1", "cardiology-v2"}


def test_a_version_that_is_refused_changes_nothing_but_what_is_said() -> None:
    foreign = adapter("cardiology-v2", base=results.digest("9"))
    unassessed = adapter("cardiology-v2", variants=("None",))
    live = replica(cardiology_v1=Verdict.APPLIED)
    for adapters, reason in (
        ((V1,), Waiting.ADAPTER_NOT_FOUND),
        ((V1, foreign), Waiting.ADAPTER_NOT_READY),
        ((V1, unassessed), Waiting.VARIANT_NOT_ASSESSED),
    ):
        going = serving(TO_V2, live, current=ON_V1, history=HISTORY, adapters=adapters)
        assert routed(going) == {"cardiology": version("cardiology-v1")}
        assert [found.adapter for found in going.routes.adapters] == ["cardiology-v1"]
        assert going.departments["cardiology"].reason == reason
        assert "spec.departments.cardiology.adapter" in going.departments["cardiology"].message


def test_a_proved_version_waits_until_its_adapter_says_that_it_is_in_use_here() -> None:
    both = replica(cardiology_v1=Verdict.APPLIED, cardiology_v2=Verdict.APPLIED)
    elsewhere = adapter("cardiology-v2", used_by=("another",))
    going = serving(TO_V2, both, current=ON_V1, history=HISTORY, adapters=(V1, elsewhere))
    assert routed(going) == {"cardiology": version("cardiology-v1")}
    assert going.departments["cardiology"].reason == Waiting.MARKING_IN_USE
    assert "status.usedBy names tantanila; cardiology-v1 goes on" in going.departments["cardiology"].message


def test_what_is_routed_stays_routed_while_its_adapters_status_is_wiped() -> None:
    live = replica(cardiology_v1=Verdict.APPLIED)
    wiped = adapter("cardiology-v1", used_by=())
    going = serving(spec(cardiology="cardiology-v1"), live, current=ON_V1, history=HISTORY, adapters=(wiped,))
    assert going.routes == ON_V1
    assert going.departments["cardiology"].reason == Done.PROVED


def test_a_routed_adapter_that_somebody_deletes_goes_on_answering() -> None:
    live = replica(cardiology_v1=Verdict.APPLIED)
    going = serving(spec(cardiology="cardiology-v1"), live, current=ON_V1, history=HISTORY, adapters=())
    assert going.routes == ON_V1
    assert going.departments["cardiology"].reason == Waiting.ADAPTER_NOT_FOUND


def test_routes_that_somebody_deletes_come_back_from_history() -> None:
    live = replica(cardiology_v1=Verdict.APPLIED)
    going = serving(TO_V2, live, current=None, history=HISTORY)
    assert routed(going) == {"cardiology": version("cardiology-v1")}


def test_nothing_is_called_served_while_no_replica_is_ready() -> None:
    wanted = spec(cardiology="cardiology-v1")
    for replicas, reason in (((), Waiting.NO_REPLICA_READY), ((replica(),), Waiting.PROVING)):
        going = serving(wanted, *replicas, current=ON_V1, history=HISTORY)
        assert routed(going) == {"cardiology": version("cardiology-v1")}
        assert going.departments["cardiology"].reason == reason


def test_an_unchanged_world_has_unchanged_routes() -> None:
    live = replica(cardiology_v1=Verdict.APPLIED)
    again = rollout(ground(spec(cardiology="cardiology-v1"), live, current=ON_V1, history=HISTORY), 2)
    assert again.routes == ON_V1


def test_a_routed_version_that_a_replica_doubts_stays_and_is_said() -> None:
    doubting = replica("engine-1", cardiology_v1=Verdict.WRONG_VERSION)
    going = serving(spec(cardiology="cardiology-v1"), doubting, current=ON_V1, history=HISTORY)
    assert routed(going) == {"cardiology": version("cardiology-v1")}
    assert going.departments["cardiology"].reason == Waiting.NOT_PROVED


def test_only_as_many_previous_versions_are_kept_as_asked_for() -> None:
    past = Revision(9, {"cardiology": ["cardiology-v1", "cardiology-v4", "cardiology-v3", "cardiology-v2"]})
    adapters = tuple(adapter(f"cardiology-v{number}") for number in (1, 2, 3))
    live = replica(cardiology_v1=Verdict.APPLIED)
    wanted = spec(cardiology="cardiology-v1")
    going = serving(wanted, live, current=ON_V1, history=past, adapters=adapters)
    assert going.departments["cardiology"].previous == ["cardiology-v3", "cardiology-v2"], "v4 was deleted"


@given(st.lists(st.sampled_from(["cardiology-v1", "cardiology-v2", "cardiology-v3"]), min_size=1, max_size=12))
def test_history_knows_each_version_once_the_latest_first(flips: list[str]) -> None:
    latest: Revision | None = None
    for number, name in enumerate(flips):
        added = next_revision(latest, {"cardiology": name})
        if added is None:
            assert number
            assert flips[number - 1] == name
        latest = added or latest
    assert latest is not None
    known = latest.versions["cardiology"]
    assert known[0] == flips[-1]
    assert sorted(known) == sorted(set(flips))


def test_what_the_api_adds_is_no_drift_and_what_somebody_changes_is() -> None:
    wanted = {"kind": "X", "metadata": {"name": "a"}, "spec": {"replicas": 2, "list": [{"a": 1}], "empty": {}}}
    found = stamped(wanted)
    found = {**found, "status": {}, "spec": {"replicas": 2, "list": [{"a": 1, "b": "defaulted"}], "more": 1}}
    assert not differs(wanted, found)
    assert differs(wanted, None)
    assert differs(wanted, {**found, "spec": {**found["spec"], "replicas": 3}})
    assert differs({**wanted, "spec": {**wanted["spec"], "resources": {"cpu": "1"}}}, found), "quantities by digest"
