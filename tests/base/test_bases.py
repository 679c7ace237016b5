"""A BaseModel that was inspected before fingerprints held samples of weights is inspected again, and stays Ready."""

import asyncio
from datetime import date

import pytest
from support import resources, results
from support.fake_cluster import FakeCluster

from wardrobe.api.basemodel import BaseModelResource, scalar
from wardrobe.api.meta import Key, Manifest
from wardrobe.base.job import inspect_job
from wardrobe.base.ready import ReadyBase, ready_base
from wardrobe.settings import Settings
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.inspection import ChatTemplate, InspectConfig, Inspection
from wardrobe_contracts.paths import CONFIG_VARIABLE
from wardrobe_contracts.result import Result

NAMESPACE = "hospital"
BASE = Key("BaseModel", NAMESPACE, "base")
SETTINGS = Settings("none", "none", {})
OLDER = results.INSPECTION.model_copy(update={"fingerprint": results.digest("0")})


def result(inspection: Inspection) -> Result:
    return Result.success("done", inspection)


class House:
    """A cluster in which an operator of First light has inspected a base."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        for manifest in (resources.base_model(), *map(resources.claim, ("wardrobe-store", "models"))):
            self.cluster.put(manifest, NAMESPACE)
        self.cluster.put(self.older_job())

    def older_job(self) -> Manifest:
        """As it was named then, with its result."""
        base = BaseModelResource.parse(self.cluster.objects[BASE])
        job = inspect_job(base, 1, SETTINGS).job
        run = f"base-{base.metadata.uid[:8]}"
        job["metadata"]["name"] = f"{run}-inspect-1"
        job["metadata"]["labels"]["wardrobe.dev/run"] = run
        job["metadata"]["annotations"]["wardrobe.dev/result"] = result(OLDER).termination_message()
        job["status"] = {"started": True, "conditions": [{"type": "Complete", "status": "True"}]}
        return job

    def reconcile(self) -> None:
        asyncio.run(self.cluster.reconciler().reconcile(BASE))

    def end_inspection(self, ending: Result) -> None:
        """The pod runs and says this."""
        self.cluster.start_pods()
        (pod,) = self.cluster.pods()
        self.cluster.end_pod(pod, ending)
        self.reconcile()

    @property
    def status(self) -> Manifest:
        found: Manifest = self.cluster.objects[BASE]["status"]
        return found

    def ready(self) -> tuple[str, str, str]:
        found = next(condition for condition in self.status["conditions"] if condition["type"] == "Ready")
        return found["status"], found["reason"], found["message"]


@pytest.fixture
def house() -> House:
    return House()


def test_it_is_inspected_once_again_and_ready_throughout(house: House) -> None:
    house.reconcile()
    assert house.ready()[:2] == ("True", "Inspected")
    assert "its fingerprint is of an older form and is taken anew" in house.ready()[2].lower()
    assert (house.status["digest"], house.status["fingerprint"]) == (OLDER.digest, OLDER.fingerprint)
    house.end_inspection(result(results.INSPECTION))
    for _ in range(3):
        house.reconcile()
    assert house.ready()[:2] == ("True", "Inspected")
    assert "older" not in house.ready()[2]
    assert house.status["fingerprint"] == results.INSPECTION.fingerprint
    assert len(house.cluster.names("Job")) == 2


def test_a_status_that_is_wiped_meanwhile_comes_back(house: House) -> None:
    house.reconcile()
    before = house.status
    house.cluster.objects[BASE]["status"] = {}
    house.reconcile()
    assert house.status == before


def test_a_claim_that_is_away_takes_nothing_from_it(house: House) -> None:
    house.cluster.delete(Key("PersistentVolumeClaim", NAMESPACE, "models"))
    house.reconcile()
    assert house.ready()[:2] == ("True", "Inspected")
    assert "models" in house.ready()[2]


def test_files_that_were_exchanged_since_are_not_taken_for_the_base(house: House) -> None:
    house.reconcile()
    house.end_inspection(result(results.INSPECTION.model_copy(update={"digest": results.digest("9")})))
    assert house.ready()[:2] == ("False", "BaseChanged")
    assert house.status["digest"] == OLDER.digest


def test_files_that_cannot_be_inspected_any_more(house: House) -> None:
    house.reconcile()
    house.end_inspection(results.failure("inspect", ExitCode.BAD_BASE, Reason.BASE_MALFORMED))
    assert house.ready()[:2] == ("False", "BaseMalformed")


def test_a_trainer_that_knows_only_the_older_form(house: House) -> None:
    house.reconcile()
    house.end_inspection(result(OLDER))
    assert house.ready()[:2] == ("False", "ConfigInvalid")
    assert "Run both of one release" in house.ready()[2]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("false", False),
        ("7", 7),
        ("0.5", 0.5),
        ('"26"', "26"),
        ("26 Jul 2024", "26 Jul 2024"),
        ("high", "high"),
        ("null", "null"),
        ("[1]", "[1]"),
        ("NaN", "NaN"),
        ("", ""),
    ],
)
def test_a_variable_is_json_where_it_is_a_scalar_of_it_and_else_text(text: str, value: object) -> None:
    found = scalar(text)
    assert (found, type(found)) == (value, type(value))


def test_a_chat_templates_settings_go_to_the_inspection_and_come_back_to_all_that_builds_on_it() -> None:
    house = House()
    house.cluster.objects[BASE]["spec"]["chatTemplate"] = {"variables": {"mood": "7"}, "date": "2026-11-30"}
    base = BaseModelResource.parse(house.cluster.objects[BASE])
    order = order_of(inspect_job(base, 1, SETTINGS).job)
    assert order.chat_template == ChatTemplate(variables={"mood": 7}, date=date(2026, 11, 30))
    prelude = "{% set mood = 7 %}\n"
    written = {"chat_template_prelude": prelude, "chat_template_date": order.chat_template.date}
    tokenizer = results.INSPECTION.tokenizer.model_copy(update=written)
    house.reconcile()
    house.end_inspection(result(results.INSPECTION.model_copy(update={"tokenizer": tokenizer})))
    assert house.status["tokenizer"]["chatTemplatePrelude"] == prelude
    assert house.status["tokenizer"]["chatTemplateDate"] == "2026-11-30"
    found = ready_base(BaseModelResource.parse(house.cluster.objects[BASE]), "base")
    assert isinstance(found, ReadyBase)
    assert found.location.chat_prelude == prelude


def order_of(job: Manifest) -> InspectConfig:
    [container] = job["spec"]["template"]["spec"]["containers"]
    return InspectConfig.model_validate_json(
        next(one["value"] for one in container["env"] if one["name"] == CONFIG_VARIABLE)
    )
