"""An adapter that is to be published: what a person knows it by, and what helps where it is not as it must be."""

from dataclasses import dataclass

from wardrobe_contracts.manifest import AnyLineage, ImportLineage

from .problems import TaskError, bad_adapter

RETRAIN = "Train again; if it happens twice, report it with the training pod's log"


@dataclass(frozen=True)
class Candidate:
    """Of the run itself, unless it is an import. The steps are for what their names say is wrong."""

    field: str = "spec.output.adapter"
    value: str = "the trained adapter"
    again: str = RETRAIN
    """For all that no other step is for."""
    diverged: str = "Lower spec.training.learningRate and train again"
    unchanging: str = RETRAIN
    other_base: str = "Use the base that it was trained on"
    silent: str = "Look at the training's loss; lower spec.training.learningRate, or check the dataset's answers"
    published: str = "Nothing published is overwritten: train with another spec.training.seed to measure anew"

    def invalid(self, rule: str, next_step: str = "") -> TaskError:
        """It must not be published."""
        return bad_adapter(field=self.field, value=self.value, rule=rule, next_step=next_step or self.again)


TRAINED = Candidate()


def imported(source: str) -> Candidate:
    """One that was taken from `source`."""
    return Candidate(
        field="spec.adapter.source",
        value=source,
        again="Name a plain LoRA adapter as PEFT's save_pretrained writes it, and create the run again",
        diverged="Train it again with a lower learning rate: such weights cannot be mended",
        unchanging="Name the adapter as it is after its training",
        other_base="Name the BaseModel that it was trained on in spec.baseModel, or another adapter",
        silent="Look at what it answers where it was trained; or name a dataset of its kind in spec.dataset",
        published="Nothing published is overwritten: name the same dataset and variants as then, or import it into "
        "another line by spec.output.adapter",
    )


def of_lineage(lineage: AnyLineage) -> Candidate:
    """The one that a run assesses."""
    return imported(lineage.adapter_source) if isinstance(lineage, ImportLineage) else TRAINED
