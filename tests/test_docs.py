"""docs/: generated pages are current, and what the others quote is still in the code."""

import inspect
import re
from pathlib import Path

import pytest
from support import source_texts
from support.documented import require_documented

import wardrobe_docs.__main__ as pages
from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Condition
from wardrobe.api.reasons import ConditionType, Done, Failure, OperatorReason, Waiting
from wardrobe.deployment import rollout as rollout_module
from wardrobe.deployment import status as deployment_status
from wardrobe.deployment.proofs import RouterPod
from wardrobe.deployment.rollout import Department, Rollout
from wardrobe.deployment.seen import Seen
from wardrobe.manifests.pod_status import STUCK_REASONS
from wardrobe_contracts.exits import Reason as TaskReason
from wardrobe_contracts.routes import Routes
from wardrobe_contracts.state import Reason as VerdictReason
from wardrobe_contracts.state import RouterState, Verdict
from wardrobe_docs.conditions import documented, places

DEPLOYMENT = "AdapterDeployment"
MADE_AGAIN = {
    TaskReason.TERMINATED,
    TaskReason.DEVICE_LOST,
    TaskReason.PEERS_LOST,
    TaskReason.PEERS_MISSING,
    TaskReason.STEP_STALLED,
    TaskReason.SOURCE_UNREACHABLE,
}
"""A person reads them in the log and in messages only: the condition says Retrying."""
TIME = "2026-01-01T00:00:00Z"
ROUTES = {"deployment": "tantanila", "generation": 3, "departments": {}, "adapters": []}
ROUTER = {
    "deployment": "tantanila",
    "generation": 3,
    "incarnation": "1",
    "ready": True,
    "draining": False,
    "connected": True,
    "backends": [],
    "keys": {},
    "missing_keys": [],
    "duplicate_keys": [],
}


def test_generated_pages_are_current() -> None:
    assert pages.stale(pages.FOLDER) == [], "run `make docs`"


def test_missing_and_changed_pages_are_stale(tmp_path: Path) -> None:
    (tmp_path / "metrics.md").write_text("# Metrics\n")
    assert pages.stale(tmp_path) == ["conditions.md", "metrics.md"]


@pytest.mark.parametrize("words", [Waiting, Done, Failure, TaskReason])
def test_every_reason_stands_somewhere_and_says_what_to_do(words: type[OperatorReason | TaskReason]) -> None:
    incomplete = {word for word in words if not places(word) or (words is not Done and not word.next_step)}
    assert incomplete == ({TaskReason.SUCCEEDED, *MADE_AGAIN} if words is TaskReason else set())


def test_reasons_stand_on_conditions_that_there_are() -> None:
    assert {place.condition for place, _ in documented()} <= set(ConditionType)


def conditions_of(
    department: Department, *routers: RouterState | None, authentication: str = "APIKey"
) -> list[Condition]:
    keys = {"keys": {"secretName": "keys"}} if authentication == "APIKey" else {}
    spec = {
        "baseModel": {"name": "base"},
        "quantization": "None",
        "departments": {"heart": {"adapter": department.wanted, **keys}},
        "authentication": authentication,
    }
    deployment = AdapterDeploymentResource.parse(
        {"metadata": {"name": "tantanila", "namespace": "ward", "uid": "1"}, "spec": spec}
    )
    routes = Routes.model_validate({**ROUTES, "base": {"name": "base", "digest": f"sha256:{'0' * 64}"}})
    pods = [RouterPod(f"router-{number}", state=state) for number, state in enumerate(routers)]
    seen = Seen(None, {}, {}, {}, {}, [], None, routes, (), pods, (), None)
    return deployment_status.status(deployment, Rollout(routes, {"heart": department}), None, seen, TIME).conditions


def router(**changes: object) -> RouterState:
    return RouterState.model_validate({**ROUTER, **changes})


def of_rollout() -> list[Waiting | Done]:
    """Every reason that deployment/rollout.py gives a department."""
    found = re.findall(r"\b(Waiting|Done)\.([A-Z_]+)", inspect.getsource(rollout_module))
    return sorted({(Waiting if words == "Waiting" else Done)[name] for words, name in found})


@pytest.mark.parametrize("reason", of_rollout())
def test_what_a_deployment_says_of_its_adapters_is_documented(reason: Waiting | Done) -> None:
    department = Department("heart-v1", None, [], reason, "so it is")
    said = [condition.model_dump() for condition in conditions_of(department, router())]
    assert reason in {condition["reason"] for condition in said}
    require_documented(DEPLOYMENT, {"conditions": said})


@pytest.mark.parametrize(
    ("routers", "reason"),
    [
        ([], Waiting.ROUTERS_BEHIND),
        ([None], Waiting.ROUTERS_BEHIND),
        ([router(generation=2)], Waiting.ROUTERS_BEHIND),
        ([router(missing_keys=["heart"])], Waiting.KEYS_MISSING),
        ([router(duplicate_keys=["heart"])], Waiting.KEYS_SHARED),
        ([router(weak_keys=["heart"])], Waiting.KEYS_TOO_SHORT),
        ([router()], Done.SERVING),
    ],
)
def test_what_a_deployment_says_of_its_routers_is_documented(
    routers: list[RouterState | None], reason: Waiting | Done
) -> None:
    department = Department("heart-v1", "heart-v1", [], Done.PROVED, "")
    said = [condition.model_dump() for condition in conditions_of(department, *routers)]
    assert said[0]["reason"] == reason
    require_documented(DEPLOYMENT, {"conditions": said})


def test_what_a_deployment_without_keys_says_is_documented() -> None:
    department = Department("heart-v1", "heart-v1", [], Done.PROVED, "")
    said = [condition.model_dump() for condition in conditions_of(department, router(), authentication="None")]
    assert Done.NOT_REQUIRED in {condition["reason"] for condition in said}
    require_documented(DEPLOYMENT, {"conditions": said})


def prose() -> list[Path]:
    return sorted(pages.FOLDER.glob("*.md"))


@pytest.mark.parametrize("page", prose(), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text())
    gone = [target for target, _ in targets if target and not (page.parent / target).exists()]
    assert gone == []
    headings = {
        (target, anchor)
        for target, anchor in targets
        if anchor and anchor not in anchors((page.parent / target).read_text() if target else page.read_text())
    }
    assert headings == set()


def anchors(text: str) -> set[str]:
    """Names that GitHub gives headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


TROUBLESHOOTING = (pages.FOLDER / "troubleshooting.md").read_text()
WORDS = {*Waiting, *Done, *Failure, *TaskReason, *ConditionType, *Verdict, *VerdictReason}


def test_every_word_of_troubleshooting_is_one_that_the_programs_say() -> None:
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][A-Za-z]*)?)`", TROUBLESHOOTING))
    assert named - WORDS - STUCK_REASONS - {"False", "True"} == set()


@pytest.mark.parametrize("words", [Failure, TaskReason])
def test_every_failure_has_its_place_in_troubleshooting(words: type[OperatorReason | TaskReason]) -> None:
    assert {word for word in words if places(word) and f"`{word}`" not in TROUBLESHOOTING} == set()


def quotes() -> list[str]:
    return re.findall(r"^> (.+)$", TROUBLESHOOTING, re.MULTILINE)


@pytest.mark.parametrize("quote", quotes())
def test_what_troubleshooting_quotes_is_in_the_code(quote: str) -> None:
    """`…` stands for what differs; the rest is held against literals, each part within one of them."""
    parts = [part.strip() for part in quote.split("…")]
    said = [part for part in parts if re.search(r"\w", part)]
    assert [part for part in said if not any(part in text for text in source_texts.strings())] == []


def test_errors_of_router_and_agent_are_those_in_troubleshooting() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", TROUBLESHOOTING, re.MULTILINE)
    assert {(int(status), code) for status, code in rows} == source_texts.refusals()
