"""Check: the dataset against its rules, and its split into what is trained on and what is held out."""

from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.finetunejob import FRACTION, SPLIT_SEED, FineTuneJobResource
from wardrobe.api.meta import Manifest
from wardrobe.api.reasons import ConditionType, Done, Waiting
from wardrobe.base.ready import ReadyBase, files_of
from wardrobe.plan.needs import Need
from wardrobe.run import dataset, imports
from wardrobe.run.orders import CHECK_FOLDER
from wardrobe.run.seen import Seen
from wardrobe.stage.attempts import Attempts
from wardrobe_contracts import paths
from wardrobe_contracts.check import CheckConfig, CheckReport, HeldOutSource
from wardrobe_contracts.datasets import Columns
from wardrobe_contracts.rules import Level, RuleName, RuleSetting

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
        *(need for data in _files(run) for need in data.needs),
        *(imports.of(run).needs if run.spec.adapter else ()),
    ]


def _files(run: FineTuneJobResource) -> list[dataset.Dataset]:
    own = dataset.validation_of(run)
    return [dataset.of(run), *([own] if own else [])]


def _work(run: FineTuneJobResource, _: Seen, base: ReadyBase, __: int) -> Work:
    data, own, spec = dataset.of(run), dataset.validation_of(run), run.spec.dataset
    order = CheckConfig(
        base=base.location,
        dataset_file=data.file,
        fetch=data.fetch,
        source=data.source,
        file_format=spec.format,
        columns=None if spec.columns is None else Columns(**spec.columns.model_dump()),
        sequence_length=run.spec.training.sequence_length,
        validation_fraction=None if own else float(spec.validation.fraction or FRACTION),
        validation=HeldOutSource(dataset_file=own.file, fetch=own.fetch, source=own.source) if own else None,
        seed=SPLIT_SEED if spec.validation.seed is None else spec.validation.seed,
        output_folder=CHECK_FOLDER,
        rules=_rules(run),
    )
    mounts = [mount for file in _files(run) for mount in file.mounts]
    asking = [file.credentials for file in _files(run) if file.credentials]
    return Work(order, tuple(mounts), credentials=asking[0] if asking else None)


def _rules(run: FineTuneJobResource) -> dict[RuleName, RuleSetting]:
    """What the person set, with thresholds as numbers; how many rows there are to train on is nothing to an import."""
    spec = run.spec.dataset.rules
    given = {} if spec is None else spec.given
    unasked = {RuleName.TRAINING_ROWS: RuleSetting(level=Level.OFF)} if run.spec.adapter else {}
    return unasked | {
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
