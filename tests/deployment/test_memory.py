"""What adapters weigh in an engine, and which of them it keeps where there is no memory for all."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import resources, results

from wardrobe import engines
from wardrobe.api.adapter import AdapterResource
from wardrobe.api.adapterdeployment import AdapterDeploymentSpec
from wardrobe.api.reasons import Waiting
from wardrobe.deployment.children.revision import History
from wardrobe.deployment.rollout import Inputs, Rollout, roll_out
from wardrobe_contracts.routes import BaseShape, Routes

LLAMA_8B = BaseShape(
    model_type="llama",
    layers=32,
    hidden_size=4096,
    intermediate_size=14336,
    attention_heads=32,
    key_value_heads=8,
    head_dim=128,
)
PER_RANK = 32 * 81_920
"""Numbers of an adapter of rank 1 on all its linear layers: inputs and outputs of q 8,192, k and v 5,120 each, o 8,192,
gate, up and down 18,432 each."""
Q_PER_RANK = 32 * 8_192


def adapter(name: str, rank: int = 16, modules: Sequence[str] = ("all-linear",)) -> AdapterResource:
    manifest = resources.adapter(name, base=results.digest("a"))
    manifest["spec"]["lora"] |= {"rank": rank, "targetModules": list(modules)}
    return AdapterResource.parse(resources.stored(manifest, uid=name, usedBy=["tantanila"]))


def spec(engine: dict[str, Any], **departments: str) -> AdapterDeploymentSpec:
    wanted = {name: {"adapter": adapter, "keys": {"secretName": "k"}} for name, adapter in departments.items()}
    made = {"baseModel": {"name": "base"}, "quantization": "NF4", "engine": engine, "departments": wanted}
    return AdapterDeploymentSpec.model_validate(made)


TGI, TWO_GPUS = {"type": "TGI", "gpus": 1}, {"type": "TGI", "gpus": 2}
VLLM, VLLM_ON_CPU = {"type": "VLLM", "gpus": 1}, {"type": "VLLM"}
EMBEDDED = {"type": "Transformers"}
A16, A8, Q64 = adapter("a-v1"), adapter("b-v1", 8), adapter("c-v1", 64, ["q_proj"])


@pytest.mark.parametrize(
    ("engine", "adapters", "expected"),
    [
        (TGI, [], 0),
        (TGI, [A16], 2 * 16 * PER_RANK * 2),
        (TGI, [A16, A8], 3 * 16 * PER_RANK * 2),
        (TGI, [A8, Q64], 3 * 64 * PER_RANK * 2),
        (TGI, [Q64], 2 * 64 * Q_PER_RANK * 2),
        (TWO_GPUS, [A16], 2 * 32 * PER_RANK * 2),
        (VLLM, [A16, A8], 24 * PER_RANK * 2),
        (VLLM_ON_CPU, [A16, Q64], (16 * PER_RANK + 64 * Q_PER_RANK) * 4),
        (EMBEDDED, [A16, A8], 3 * 16 * PER_RANK * 4),
        (EMBEDDED, [A8, Q64], 3 * (8 * (PER_RANK - Q_PER_RANK) + 64 * Q_PER_RANK) * 4),
    ],
)
def test_what_a_set_weighs(engine: dict[str, Any], adapters: list[AdapterResource], expected: int) -> None:
    found = engines.weight(spec(engine, cardiology="a-v1"), LLAMA_8B, [one.spec for one in adapters])
    assert found == expected


def test_a_layer_of_an_unknown_name_weighs_as_the_largest() -> None:
    strange = adapter("a-v1", 1, ["experts_proj"]).spec
    largest = 32 * (4096 + 2 * 14336)
    assert engines.weight(spec(VLLM, cardiology="a-v1"), LLAMA_8B, [strange]) == largest * 2


ONE = 16 * PER_RANK * 4 // 2**20
"""MiB of an adapter of rank 16 on the embedded engine; the zeros of the base's slot take as much."""


def room_for(count: int) -> dict[str, Any]:
    return {**EMBEDDED, "adapterMemory": f"{(count + 1) * ONE}Mi"}


def rolled(
    wanted: AdapterDeploymentSpec, *names: str, current: Routes | None = None, history: History | None = None
) -> Rollout:
    adapters = {name: adapter(name) for name in names}
    inputs = Inputs("tantanila", wanted, results.digest("a"), adapters, history, current, [], shape=LLAMA_8B)
    return roll_out(inputs, 1)


def in_the_set(found: Rollout) -> set[str]:
    return {member.adapter for member in found.routes.adapters}


def test_an_adapter_that_there_is_no_memory_for_is_refused_and_the_others_are_loaded() -> None:
    wanted = spec(room_for(1), cardiology="cardiology-v1", renal="renal-v1")
    found = rolled(wanted, "cardiology-v1", "renal-v1")
    assert in_the_set(found) == {"cardiology-v1"}
    assert found.departments["renal"].reason is Waiting.ADAPTERS_TOO_LARGE
    assert found.departments["renal"].message.startswith(
        f"spec.departments.renal.adapter is 'renal-v1': with Adapter renal-v1, adapters would take {3 * ONE} MiB of an "
        f"engine, and spec.engine.adapterMemory is {2 * ONE}Mi. Write more there if the engine has it"
    )


def test_what_is_loaded_already_stays_when_another_comes() -> None:
    alone = rolled(spec(room_for(1), renal="renal-v1"), "renal-v1")
    both = spec(room_for(1), cardiology="cardiology-v1", renal="renal-v1")
    assert in_the_set(rolled(both, "cardiology-v1", "renal-v1", current=alone.routes)) == {"renal-v1"}


PAST = History(
    1,
    {
        "cardiology": ["cardiology-v3", "cardiology-v2", "cardiology-v1"],
        "renal": ["renal-v3", "renal-v2", "renal-v1"],
    },
)
ALL = [f"{name}-v{number}" for name in ("cardiology", "renal") for number in (1, 2, 3)]
NOW = {"cardiology": "cardiology-v3", "renal": "renal-v3"}


@pytest.mark.parametrize(
    ("count", "warm"),
    [
        (2, set()),
        (3, {"cardiology-v2"}),
        (4, {"cardiology-v2", "renal-v2"}),
        (5, {"cardiology-v2", "renal-v2", "cardiology-v1"}),
        (6, {"cardiology-v2", "renal-v2", "cardiology-v1", "renal-v1"}),
    ],
)
def test_the_newest_of_the_past_are_kept_warm_as_far_as_there_is_memory(count: int, warm: set[str]) -> None:
    found = rolled(spec(room_for(count), **NOW), *ALL, history=PAST)
    assert in_the_set(found) == {*NOW.values(), *warm}
    assert found.cold == set(ALL) - set(NOW.values()) - warm
    assert found.departments["renal"].previous == ["renal-v2", "renal-v1"], "it can be gone back to all the same"


def test_a_new_adapter_pushes_out_what_is_kept_warm() -> None:
    before = rolled(spec(room_for(3), **NOW), *ALL, history=PAST)
    assert "cardiology-v2" in in_the_set(before)
    wanted = spec(room_for(3), cardiology="cardiology-v3", renal="renal-v4")
    after = rolled(wanted, *ALL, "renal-v4", current=before.routes, history=PAST)
    assert in_the_set(after) == {"cardiology-v3", "renal-v3", "renal-v4"}


def test_what_answers_stays_when_its_memory_is_taken_away() -> None:
    before = rolled(spec(room_for(6), **NOW), *ALL, history=PAST)
    after = rolled(spec(room_for(1), **NOW), *ALL, current=before.routes, history=PAST)
    assert in_the_set(after) == set(NOW.values())
    assert after.cold == set(ALL) - set(NOW.values())


def test_of_a_base_that_is_not_known_nothing_is_weighed() -> None:
    wanted = spec({**EMBEDDED, "adapterMemory": "1Mi"}, **NOW)
    inputs = Inputs("tantanila", wanted, results.digest("a"), {n: adapter(n) for n in ALL}, PAST, None, [])
    assert in_the_set(roll_out(inputs, 1)) == set(ALL)
    assert in_the_set(roll_out(replace(inputs, shape=LLAMA_8B), 1)) < set(ALL)


@given(st.integers(1, 8), st.permutations(ALL))
def test_more_memory_never_keeps_less_and_the_order_of_adapters_says_nothing(count: int, order: list[str]) -> None:
    less, more = (in_the_set(rolled(spec(room_for(n), **NOW), *order, history=PAST)) for n in (count, count + 1))
    assert less <= more
    assert less == in_the_set(rolled(spec(room_for(count), **NOW), *ALL, history=PAST))


def test_looking_again_changes_nothing() -> None:
    for count, (cardiology, renal) in itertools.product(range(1, 7), itertools.product(ALL[:3], ALL[3:])):
        wanted = spec(room_for(count), cardiology=cardiology, renal=renal)
        first = rolled(wanted, *ALL, history=PAST)
        assert rolled(wanted, *ALL, current=first.routes, history=PAST).routes == first.routes
