"""What is over and what comes next is read from the cluster alone."""

from typing import Any

from demo import story
from demo.story import Act, Observed

Resource = dict[str, Any]


def resource(kind: str, name: str, conditions: dict[str, str], generation: int = 1, **status: Any) -> Resource:
    found = [{"type": type_, "status": value, "message": f"{type_} is {value}"} for type_, value in conditions.items()]
    return {
        "kind": kind,
        "metadata": {"name": name, "generation": generation},
        "status": {"observedGeneration": 1, "conditions": found, **status},
    }


def base(ready: str = "True") -> Resource:
    return resource("BaseModel", "tantanila-base", {"Ready": ready}, summary="Llama 5.8M")


def run(name: str, adapter: str | None, score: str = "3.9 → 2.4 (-38%)") -> Resource:
    if adapter is None:
        return resource("FineTuneJob", name, {"Succeeded": "Unknown"}, progress={"summary": "training 3/9, 5s left"})
    return resource("FineTuneJob", name, {"Succeeded": "True"}, adapter=adapter, score=score)


def deployment(adapter: str, wanted: str, previous: list[str], generation: int = 1) -> Resource:
    conditions = dict.fromkeys(("Ready", "RoutesApplied", "AdaptersProved"), "True")
    departments = {"cardiology": {"adapter": adapter, "wanted": wanted, "previous": previous}}
    url, live = "http://10.96.0.17", f"cardiology→{adapter}"
    return resource(
        "AdapterDeployment", "tantanila", conditions, generation, departments=departments, url=url, live=live
    )


TRAINED = (base(), run("cardiology", "cardiology-v1"), run("paediatrics", "paediatrics-v1"))
AGAIN = (*TRAINED, run("cardiology-2", "cardiology-v2"))


def following(*items: Resource) -> Act | None:
    return story.next_act(Observed(items))


def test_the_story_goes_on_from_what_is_there() -> None:
    served = deployment("cardiology-v1", "cardiology-v1", [])
    assert following() is Act.BASE
    assert following(base(ready="Unknown")) is Act.BASE
    assert following(base()) is Act.TRAIN
    assert following(base(), run("cardiology", "cardiology-v1"), run("paediatrics", None)) is Act.TRAIN
    assert following(*TRAINED) is Act.DEPLOY
    assert following(*TRAINED, served) is Act.TRAIN_AGAIN
    assert following(*TRAINED, served, run("cardiology-2", None)) is Act.TRAIN_AGAIN
    assert following(*AGAIN, served) is Act.POINT
    assert following(*AGAIN, deployment("cardiology-v1", "cardiology-v2", [])) is Act.POINT
    assert following(*AGAIN, deployment("cardiology-v2", "cardiology-v2", ["cardiology-v1"])) is Act.ROLL_BACK
    assert following(*AGAIN, deployment("cardiology-v1", "cardiology-v1", ["cardiology-v2"])) is None


def test_what_the_operator_has_not_looked_at_yet_does_not_count() -> None:
    patched = deployment("cardiology-v1", "cardiology-v1", ["cardiology-v2"], generation=2)
    assert not Observed((patched,)).answering("cardiology-v1")
    assert story.waiting_for(Observed((patched,)), "AdapterDeployment", "tantanila", "Ready") == (
        "the operator has not looked at it yet"
    )


def test_an_act_that_is_over_is_told_in_one_line() -> None:
    line = story.ending(Act.TRAIN, Observed(TRAINED)) or ""
    assert "FineTuneJob cardiology made cardiology-v1, loss on the rows kept out 3.9 → 2.4 (-38%)" in line
    assert "paediatrics-v1" in line
    assert story.ending(Act.BASE, Observed(TRAINED)) == "BaseModel tantanila-base is Ready: Llama 5.8M"


def test_progress_of_two_runs_is_one_line() -> None:
    seen = Observed((run("cardiology", None),))
    assert story.run_progress(seen, ("cardiology", "paediatrics")) == (
        "cardiology: training 3/9, 5s left · paediatrics: waiting for the operator"
    )


def test_a_run_that_waits_says_for_what() -> None:
    waiting = run("cardiology", None)
    waiting["status"]["progress"]["summary"] = "waiting: training"
    waiting["status"]["conditions"][0]["reason"] = "Unschedulable"
    assert story.run_progress(Observed((waiting,)), ("cardiology",)) == "cardiology: waiting: training (Unschedulable)"


def test_a_run_that_failed_ends_the_story_with_its_own_words() -> None:
    failed = resource("FineTuneJob", "cardiology", {"Succeeded": "False", "Stalled": "True"})
    said = story.failure(Observed((failed,)), "FineTuneJob", "cardiology", "paediatrics")
    assert said == "FineTuneJob cardiology failed: Stalled is True"
    assert story.failure(Observed(TRAINED), "FineTuneJob", "cardiology") is None


def test_the_examples_are_what_the_story_says() -> None:
    """The deployment's YAML names the adapter to which cardiology is put back."""
    from demo.cluster import EXAMPLES, REPOSITORY  # noqa: PLC0415  the rest is pure

    assert f"adapter: {story.FIRST}" in (REPOSITORY / EXAMPLES / "adapterdeployment.yaml").read_text()
