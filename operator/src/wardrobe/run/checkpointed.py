"""Whether what a run has trained is saved: a condition while it trains.

From what was pulled of the attempt that runs (progress.py writes it, and wakes the run where it says something else
here: see wakeups.py), and from what the record has of those before. No message counts steps while they are made: it
would be written again with every checkpoint.
"""

from wardrobe.api.finetunejob import FineTuneJobResource, ProgressStatus
from wardrobe.api.reasons import ConditionType, Done, Waiting
from wardrobe.plan.conditions import Fact
from wardrobe.stage.attempts import Attempts
from wardrobe_contracts.paths import STORE_CLAIM

from .stages.train import TRAIN


def checkpointed(run: FineTuneJobResource, pulled: ProgressStatus | None, attempts: Attempts) -> Fact:
    """`pulled` is what the attempt says that runs; None where none does, or none has said anything."""
    mark = ConditionType.CHECKPOINTED
    reached = (one.result.reached for one in attempts.ended(TRAIN.task).values())
    saved = max((found.saved for found in reached if found), default=0)
    if pulled and pulled.problem:
        return _not_written(run, pulled, pulled.saved or saved)
    if pulled and pulled.saved:
        return Fact(mark, "True", Done.SAVED, "what was trained up to step status.progress.saved is saved")
    if saved:
        return Fact(mark, "True", Done.SAVED, f"what was trained up to step {saved} is saved")
    if (before := run.status.condition(mark)) and before.status == "True":  # by an attempt that was lost unheard
        return Fact(mark, "True", Done.SAVED, "an attempt has saved what it trained; the next goes on from there")
    every = f"one is written every {run.spec.checkpoints.every_seconds} s, and when a pod is told to stop"
    return Fact(mark, "Unknown", Waiting.NO_CHECKPOINT_YET, every)


def _not_written(run: FineTuneJobResource, pulled: ProgressStatus, saved: int) -> Fact:
    """With the volume's words, and what it costs until somebody has looked."""
    mend = f"Free or enlarge the volume of PersistentVolumeClaim {STORE_CLAIM!r}, or make it writable"
    goes_on = f"goes on from step {saved}" if saved else "goes on from the last checkpoint, if there is any"
    if pulled.stage == "Saving":
        message = f"what was trained cannot be written: {pulled.problem}. It is tried every ten seconds. {mend}; an "
        message += f"attempt that is made after this one {goes_on}"
        return Fact(ConditionType.CHECKPOINTED, "False", Waiting.RESULT_NOT_WRITTEN, message)
    message = f"no checkpoint can be written: {pulled.problem}. Training goes on, and tries again within "
    message += f"{run.spec.checkpoints.every_seconds} s; where it is interrupted before, it {goes_on}. {mend}"
    return Fact(ConditionType.CHECKPOINTED, "False", Waiting.CHECKPOINT_NOT_WRITTEN, message)
