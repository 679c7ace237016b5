"""Check: the dataset against its rules, and its split into what is trained on and what is held out."""

from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.meta import Manifest
from wardrobe.api.reasons import ConditionType, Done, Waiting
from wardrobe.base.ready import ReadyBase, files_of
from wardrobe.plan.needs import Need
from wardrobe.run import dataset
from wardrobe.run.orders import CHECK_FOLDER
from wardrobe.run.seen import Seen
from wardrobe.stage.attempts import Attempts
from wardrobe_contracts import paths
from wardrobe_contracts.check import CheckConfig, CheckReport
from wardrobe_contracts.rules import RuleName, RuleSetting

from .stage import JobStage, Words, Work

RESOURCES: Manifest = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "4Gi"}}
"""The check tokenizes on CPU and asks for no accelerator."""


def needs(run: FineTuneJobResource, base: BaseModelResource | None, attempts: Attempts) -> list[Need]:
    """What the run's pods will mount; asked for before the first of them is made."""
    if base is None or base.status.digest is None or attempts.newest(CHECK.task) is not None:
        return []
    return [
        Need.claim("the namespace's store", paths.STORE_CLAIM, "Wardrobe keeps runs and adapters in it"),
        files_of(base),
        *dataset.of(run).needs,
    ]


def _work(run: FineTuneJobResource, _: Seen, base: ReadyBase, __: int) -> Work:
    data = dataset.of(run)
    order = CheckConfig(
        base=base.location,
        dataset_file=data.file,
        fetch=data.fetch,
        source=run.spec.dataset.source,
        sequence_length=run.spec.training.sequence_length,
        validation_fraction=float(run.spec.dataset.validation.fraction),
        seed=run.spec.dataset.validation.seed,
        output_folder=CHECK_FOLDER,
        rules=_rules(run),
    )
    return Work(order, data.mounts, credentials=data.credentials)


def _rules(run: FineTuneJobResource) -> dict[RuleName, RuleSetting]:
    """What the person set, with thresholds as numbers."""
    spec = run.spec.dataset.rules
    given = {} if spec is None else spec.given
    return {
        name: RuleSetting(level=rule.level, threshold=None if rule.threshold is None else float(rule.threshold))
        for name, rule in given.items()
    }


def _came_to(report: CheckReport, _: int) -> str:
    apart = f" as {report.train_examples} examples" if report.train_examples not in (None, report.train_rows) else ""
    return f"{report.train_rows} rows to train on{apart}, {report.heldout_rows} held out"


CHECK = JobStage(
    task="check",
    more_memory="The limit is Wardrobe's own",
    brings=CheckReport,
    words=Words(ConditionType.DATASET_CHECKED, "checking the dataset", Done.CHECKED, Waiting.CHECKING),
    work=_work,
    came_to=_came_to,
    resources=RESOURCES,
)
