"""Import: an adapter of somebody else's, or of a run that failed later, taken into the run's folder and checked."""

from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.reasons import ConditionType, Done, Waiting
from wardrobe.base.ready import ReadyBase
from wardrobe.run import imports
from wardrobe.run.orders import IMPORT_FOLDER
from wardrobe.run.seen import Seen
from wardrobe.stage.job import WITHOUT_BASE
from wardrobe_contracts.imports import ImportConfig, Imported

from .stage import JobStage, Words, Work


def _work(run: FineTuneJobResource, _: Seen, base: ReadyBase, __: int) -> Work:
    found = imports.of(run)
    order = ImportConfig(
        base=base.location,
        base_reference=base.reference,
        source=run.spec.brought_in.source,
        folder=found.folder,
        fetch=found.fetch,
        digest=run.spec.brought_in.digest,
        output_folder=IMPORT_FOLDER,
    )
    return Work(order, found.mounts, credentials=found.credentials)


def _came_to(taken: Imported, _: int) -> str:
    return f"rank {taken.lora.rank} on {', '.join(taken.lora.target_modules)}, {taken.digest}"


IMPORT = JobStage(
    task="import",
    more_memory="The limit is Wardrobe's own",
    brings=Imported,
    words=Words(ConditionType.IMPORTED, "importing the adapter", Done.IMPORTED, Waiting.IMPORTING),
    work=_work,
    came_to=_came_to,
    resources=WITHOUT_BASE,
)
