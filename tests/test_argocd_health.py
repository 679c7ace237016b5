"""What Argo CD shows of our kinds, by the script that docs offer it, on statuses as the operator writes them."""

from pathlib import Path

import lupa.lua51 as lua  # type: ignore[import-untyped]  # has no annotations
import pytest
from support import resources, results
from support.fake_cluster import SETTINGS

from wardrobe.adapter import decide as adapter_plan
from wardrobe.api.adapter import AdapterResource
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.meta import Manifest, Status
from wardrobe.api.reasons import ConditionType, Waiting
from wardrobe.plan.conditions import Fact
from wardrobe.plan.undecided import api_refused, with_top
from wardrobe.plan.unreadable import stalled

SCRIPT = (Path(__file__).parents[1] / "docs" / "argocd-health.lua").read_text()
TIME = "2026-01-01T00:00:00Z"


def health(generation: int, status: Manifest | None) -> tuple[str, str]:
    """As Argo CD runs a script, in Lua 5.1: `obj` is the resource, and what is returned says status and message."""
    runtime = lua.LuaRuntime()
    resource = {"metadata": {"generation": generation}, "status": status}
    runtime.globals()["obj"] = runtime.table_from(resource, recursive=True)
    found = runtime.execute(SCRIPT)
    return found["status"], found["message"]


def adapter_on(base: BaseModelResource | None) -> Status:
    adapter = AdapterResource.parse(resources.stored(resources.adapter("cardiology-v1")))
    status = adapter_plan.decide(adapter, adapter_plan.Seen(base, frozenset()), SETTINGS, TIME).status
    assert status is not None
    return status


def base(digest: str) -> BaseModelResource:
    return BaseModelResource.parse(resources.stored(resources.base_model(), **resources.ready_base(digest=digest)))


@pytest.mark.parametrize(
    ("seen", "expected", "message"),
    [
        (base(resources.BASE_DIGEST), "Healthy", "Accepted: fits BaseModel base"),
        (base(results.digest("9")), "Degraded", "BaseModelDigestDiffers: spec.baseModel.digest is"),
        (None, "Progressing", "BaseModelNotFound: spec.baseModel.name is 'base'"),
    ],
)
def test_an_adapter(seen: BaseModelResource | None, expected: str, message: str) -> None:
    status, said = health(1, adapter_on(seen).to_manifest())
    assert status == expected
    assert said.startswith(message)


def test_a_run_is_summed_up_by_another_condition() -> None:
    run = FineTuneJobResource.parse(resources.stored(resources.run("heart")))
    said = api_refused(run, ConditionType.SUCCEEDED, "Job heart: exceeded quota", TIME)
    assert health(1, said.to_manifest()) == ("Progressing", "ApiRefused: the API refused Job heart: exceeded quota")
    said = stalled(run, ConditionType.SUCCEEDED, "spec.method: no method", TIME)
    assert health(1, said.to_manifest())[0] == "Degraded"


def test_a_run_that_somebody_has_suspended_is_said_to_be() -> None:
    run = FineTuneJobResource.parse(resources.stored(resources.run("heart")))
    suspended = Fact(ConditionType.SUCCEEDED, "Unknown", Waiting.SUSPENDED, "spec.suspend is true")
    said = with_top(run, suspended, TIME)
    assert health(1, said.to_manifest()) == ("Suspended", "Suspended: spec.suspend is true")


def test_what_the_operator_has_not_seen_is_in_progress() -> None:
    said = adapter_on(base(resources.BASE_DIGEST)).to_manifest()
    assert health(1, None)[0] == "Progressing"
    assert health(2, said)[0] == "Progressing", "the status speaks of an earlier spec"
    assert health(1, {"usedBy": ["tantanila"]})[0] == "Progressing"
