"""docs/conditions.md: every condition, reason, exit code and verdict."""

from collections.abc import Iterable, Iterator
from functools import cache

from wardrobe.adapter.job import VERIFY
from wardrobe.api import adapter, adapterdeployment, basemodel, finetunejob
from wardrobe.api.reasons import ConditionType, Done, Failure, OperatorReason, Place, Waiting, on
from wardrobe.base.job import INSPECT
from wardrobe.run.stages import TO_A_BASE, TO_AN_ADAPTER, WITHOUT_TRAINING
from wardrobe.run.stages.stage import JobStage
from wardrobe.stage.stage import Retries
from wardrobe_contracts.exits import ExitCode
from wardrobe_contracts.exits import Reason as TaskReason
from wardrobe_contracts.state import Reason as VerdictReason
from wardrobe_contracts.state import Verdict

from .tables import code, table

KINDS = (basemodel.KIND, finetunejob.KIND, adapter.KIND, adapterdeployment.KIND)
TASK_PLACES = {
    INSPECT.task: on("False", basemodel.KIND, ConditionType.READY),
    VERIFY.task: on("False", adapter.KIND, ConditionType.READY),
} | {
    stage.task: on("False", finetunejob.KIND, ConditionType.SUCCEEDED, stage.words.condition)
    for stage in (*TO_AN_ADAPTER, *WITHOUT_TRAINING, *TO_A_BASE)
    if isinstance(stage, JobStage)
}
"""Conditions that say that a task failed."""
DERIVED = (ConditionType.RECONCILING, ConditionType.STALLED)
"""On every kind, with the reason of the condition that sums it up."""


def places(word: OperatorReason | TaskReason) -> tuple[Place, ...]:
    """Where a reason stands; a task's on the conditions of the tasks that end so."""
    if isinstance(word, OperatorReason):
        return word.places
    return tuple(dict.fromkeys(place for task in word.ends for place in TASK_PLACES[task]))


@cache
def documented() -> frozenset[tuple[Place, str]]:
    """Every reason that the page puts on a condition, with the place."""
    return frozenset((place, word) for word in (*Waiting, *Done, *Failure, *TaskReason) for place in places(word))


def page() -> str:
    """The whole page."""
    return _PAGE.format(
        conditions=table(("kind", "condition", "holds when"), _conditions()),
        waiting=_reasons(Waiting),
        done=table(("reason", "stands on", "means"), _rows(Done, with_next=False)),
        refused=_reasons(Failure),
        failed=_reasons(TaskReason),
        retries=Retries().most,
        exits=table(("code", "class", "tried again"), _exits()),
        verdicts=table(("verdict", "means", "what to do"), _verdicts()),
        verdict_reasons=table(("reason", "means"), ((code(word), word.meaning) for word in VerdictReason)),
    )


def _conditions() -> Iterator[tuple[str, str, str]]:
    used = {(place.kind, place.condition) for place, _ in documented()}
    for kind in KINDS:
        for condition in ConditionType:
            if (kind, condition) in used:
                yield kind, code(condition), condition.meaning
    for condition in DERIVED:
        yield "all", code(condition), condition.meaning


def _reasons(words: Iterable[OperatorReason | TaskReason]) -> str:
    return table(("reason", "stands on", "means", "what to do"), _rows(words, with_next=True))


def _rows(words: Iterable[OperatorReason | TaskReason], *, with_next: bool) -> Iterator[tuple[str, ...]]:
    for word in words:
        row = (code(word), _said(places(word)) or "-", word.meaning)
        yield (*row, _sentence(word.next_step)) if with_next else row


def _said(found: Iterable[Place]) -> str:
    """`Unknown` on FineTuneJob Succeeded, Trained; one line per kind and status."""
    by_kind: dict[tuple[str, str], list[str]] = {}
    for place in found:
        by_kind.setdefault((place.status, place.kind), []).append(place.condition)
    return "<br>".join(
        f"{code(status)} on {kind} {', '.join(conditions)}" for (status, kind), conditions in by_kind.items()
    )


def _verdicts() -> Iterator[tuple[str, str, str]]:
    for verdict in Verdict:
        yield code(verdict), verdict.meaning, _sentence(verdict.next_step)


def _exits() -> Iterator[tuple[str, str, str]]:
    for exit_code in ExitCode:
        yield (
            str(exit_code.value),
            exit_code.name.lower().replace("_", " "),
            "yes" if exit_code.infrastructure else "no",
        )


def _sentence(text: str) -> str:
    """As a cell of its own; next steps begin small, commands stay as they are."""
    return text[:1].upper() + text[1:] if text else "-"


_PAGE = """\
# Conditions and reasons

<!-- Written by `make docs` from operator/src/wardrobe/api/reasons.py, contracts/src/wardrobe_contracts/exits.py and
contracts/src/wardrobe_contracts/state.py. Change the texts there. -->

What is true of an object stands in `status.conditions`; `kubectl describe` prints them, and the columns READY (or
SUCCEEDED) and REASON of `kubectl get` show the one that sums the object up. A reason is one of the words below and
never changes its meaning. The message beside it is a sentence for a person: it names the field, its value, the rule
and the next step where somebody can mend it, and is more precise than this page. An Event is posted when the summing
condition comes to an end, or to what holds the object up; not for each step of what goes on.

A word that you met: search this page for it. A symptom: [troubleshooting.md](troubleshooting.md).

## Conditions

{conditions}
With `kubectl wait`: `--for=condition=Ready` (BaseModel, Adapter, AdapterDeployment), `--for=condition=Succeeded`
(FineTuneJob).

## Reasons while the operator goes on by itself

Nothing has failed for good. With `Unknown` something is under way or missing; with `False` a person is asked for
something, and what answered before goes on answering. `status.departments.<name>.state` of an AdapterDeployment uses
the same words for one department.

{waiting}
## Reasons of what is done

The status is `True`.

{done}
## Reasons of what cannot go on

{refused}
## Reasons of a failed task

A task is one of the programs that inspect a base, check a dataset, train and assess. The status is `False`. A
FineTuneJob is started once: mend what is wrong, delete it (or choose another name) and create it again. A BaseModel is
read once: delete it and create it again.

{failed}
## Exit codes of a task

The class decides whether the same work is done again, at most {retries} times, with pauses that double from 10 seconds
to 10 minutes; meanwhile the reason is `Retrying`. The record of a task is `result.json` in its folder of the store, and
a copy stands in the annotations of the run's ConfigMap `<run>-attempts`.

{exits}
## Verdicts of an agent

The agent of an engine pod gives each adapter a verdict; the message of `NotProved` quotes it, and so do the agent's
`GET /state` and its metric `wardrobe_agent_adapter_verdict`.

{verdicts}
Each verdict has a reason:

{verdict_reasons}"""
