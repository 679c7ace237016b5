"""What base, candidate and incumbents make of the held-out rows on one variant, and the candidate's probes."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import torch
from peft import PeftModel

from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import Accelerator, Digest
from wardrobe_models import adapter_files
from wardrobe_models.adapter_files import AdapterFaultError, linear_features
from wardrobe_models.chat import Chat

from . import accelerators, evaluate, probes
from .adapter_config import invalid_adapter
from .adapter_files import require_fits, validate
from .comparison import Sums
from .console import say
from .drafts import Draft, Question
from .evaluate import HeldOut, counts, prepare, sums
from .hardware import peak_bytes
from .heldout import read_frame, read_heldout
from .inspection import context_length, load_config
from .kept import Kept
from .loading import load_base
from .publish import NotWholeError, target_of, verify
from .sampling import sample
from .scoring import are_numbers, base_scores, candidate_scores, log_probabilities
from .tokens import load_chat
from .variants import Measured, VariantOrder

PROGRAMS = ("torch", "transformers", "peft", "bitsandbytes")
"""Packages whose versions scores depend on."""
INCUMBENT = "incumbent"
"""PEFT's name for the one that is loaded beside the candidate."""


@dataclass(frozen=True)
class Ground:
    """What all are measured on."""

    chat: Chat
    rows: list[HeldOut]
    heldout_rows: int
    questions: list[Question]


class Model:
    """The variant in memory with the candidate on it."""

    def __init__(self, order: VariantOrder) -> None:
        config = order.config
        adapter = validate(Path(config.candidate_folder), config.lineage.lora.rank).adapter
        base = load_base(Path(config.base.folder), order.variant, config.accelerator)
        require_fits(base, adapter)
        self._features = linear_features(base)
        self.peft = PeftModel.from_pretrained(base, config.candidate_folder, is_trainable=False).eval()

    def incumbent(self, folder: Path, rows: list[HeldOut]) -> Sums:
        """Of another version. Raises AdapterFaultError where it does not fit the base, or its scores are no numbers."""
        adapter_files.require_fits(adapter_files.read(folder), self._features)
        self.peft.load_adapter(str(folder), adapter_name=INCUMBENT, is_trainable=False)
        self.peft.set_adapter(INCUMBENT)
        try:
            found = log_probabilities(self.peft, [row.passage for row in rows])
        finally:
            self.peft.set_adapter("default")
            self.peft.delete_adapter(INCUMBENT)
        if not are_numbers(found):
            raise AdapterFaultError("it scores held-out answers with values that are no numbers")
        return sums(found, rows)


def measure(order: VariantOrder) -> Measured:
    """Everything that can be said of one variant. Raises TaskError."""
    config = order.config
    accelerators.take_for(config.accelerator, Path(config.base.folder), order.variant)
    ground = prepared(config)
    say(f"{order.variant}: {len(ground.rows)} of {ground.heldout_rows} held-out rows")
    model, kept = Model(order), _kept(order, ground.rows)
    passages = [row.passage for row in ground.rows]
    base = _once(kept, None, lambda: sums(base_scores(model.peft, passages), ground.rows))
    candidate = _once(kept, order.candidate, lambda: sums(candidate_scores(model.peft, passages), ground.rows))
    incumbents, unmeasured = _incumbents(config, model, ground.rows, kept)
    drafts = order.drafts or drafted(model.peft, ground)
    return Measured(
        counts=kept.counts,
        base=base,
        candidate=candidate,
        incumbents=incumbents,
        unmeasured=unmeasured,
        drafts=drafts,
        probe_scores=probes.score(model.peft, drafts),
    )


def prepared(config: AssessConfig) -> Ground:
    """The rows, as tokens, and questions to probe with. Raises TaskError."""
    base = Path(config.base.folder)
    chat, heldout = load_chat(base, config.base.chat_prelude), read_heldout(config)
    rows = sample(heldout, config.max_rows)
    schedule = config.lineage.schedule
    return Ground(
        chat,
        prepare(chat, rows, read_frame(Path(config.data_folder)), schedule.sequence_length),
        len(heldout),
        probes.choose(chat, heldout, schedule.seed, context_length(load_config(base))),
    )


def drafted(model: PeftModel, ground: Ground) -> list[Draft]:
    """The candidate's answers. Raises TaskError where there are none: nobody could prove which adapter answers."""
    drafts = probes.draft(ground.chat, model, ground.questions)
    if not drafts:
        raise invalid_adapter(
            f"the candidate answers none of {len(ground.questions)} held-out prompts with text",
            "Look at the training's loss; lower spec.training.learningRate, or check the dataset's answers",
        )
    return drafts


def needed_bytes(order: VariantOrder) -> int:
    """Of memory, at least, after there was too little: what was taken when more was asked for."""
    if order.config.accelerator is Accelerator.GPU:
        least = accelerators.least_bytes(Path(order.config.base.folder), order.variant)
        return max(torch.cuda.max_memory_allocated(), least)
    return peak_bytes(os.getpid())


def _incumbents(
    config: AssessConfig, model: Model, rows: list[HeldOut], kept: Kept
) -> tuple[dict[Digest, Sums], dict[Digest, str]]:
    """Their scores, and why others have none: a version that answers may have lost its files since."""
    found: dict[Digest, Sums] = {}
    unmeasured: dict[Digest, str] = {}
    for incumbent in config.incumbents:
        folder = target_of(Path(config.line_folder), incumbent.digest)
        try:
            verify(folder, incumbent.digest)
            found[incumbent.digest] = _once(kept, incumbent.digest, partial(model.incumbent, folder, rows))
        except (NotWholeError, AdapterFaultError) as error:
            unmeasured[incumbent.digest] = f"{incumbent.name} cannot be measured: {error}"
            say(unmeasured[incumbent.digest])
    return found, unmeasured


def _once(kept: Kept, adapter: Digest | None, score: Callable[[], Sums]) -> Sums:
    """As kept, or measured and kept."""
    if (known := kept.read(adapter)) is not None:
        say(f"{kept.variant}: the scores of {adapter or 'the base'} on these rows are kept from before")
        return known
    found = score()
    kept.write(adapter, found)
    return found


def _kept(order: VariantOrder, rows: list[HeldOut]) -> Kept:
    config = order.config
    gpu = config.accelerator is Accelerator.GPU
    return Kept(
        folder=Path(config.scores_folder) if config.scores_folder else None,
        base=config.base.fingerprint,
        variant=order.variant,
        rows=evaluate.digest(rows),
        programs={name: metadata.version(name) for name in PROGRAMS}
        | {"device": torch.cuda.get_device_name() if gpu else config.accelerator},
        counts=counts(rows),
    )
