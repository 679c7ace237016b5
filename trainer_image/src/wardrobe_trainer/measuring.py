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
from wardrobe_models.loading import skeleton

from . import evaluate, probes, spreading
from .adapter_files import require_fits, validate
from .candidate import Candidate, of_lineage
from .comparison import Sums
from .console import say
from .drafts import Draft, Question
from .evaluate import HeldOut, counts, sums
from .hardware import peak_bytes
from .heldout import measured_rows, rows_of
from .inspection import context_length, load_config
from .kept import Kept
from .loading import load_base
from .publish import NotWholeError, target_of, verify
from .scoring import are_numbers, base_scores, candidate_scores, log_probabilities
from .spreading import DeviceMap
from .tokens import load_chat
from .variants import Measured, VariantOrder

PROGRAMS = ("torch", "transformers", "peft", "bitsandbytes")
"""Packages whose versions scores depend on."""
INCUMBENT = "incumbent"
"""PEFT's name for the one that is loaded beside the candidate."""


@dataclass(frozen=True)
class EvaluationSet:
    """What all are measured on."""

    chat: Chat
    rows: list[HeldOut]
    heldout_rows: int
    questions: list[Question]


class Model:
    """The variant in memory with the candidate on it."""

    def __init__(self, order: VariantOrder, devices: DeviceMap | None) -> None:
        config = order.config
        candidate = of_lineage(config.lineage)
        adapter = validate(Path(config.candidate_folder), config.lineage.lora.rank, candidate).adapter
        base = load_base(Path(config.base.folder), order.variant, config.accelerator, devices=devices)
        require_fits(base, adapter, candidate)
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
    devices = spreading.place(config.accelerator, Path(config.base.folder), order.variant)
    data = prepared(config)
    say(f"{order.variant}: {len(data.rows)} of {data.heldout_rows} held-out rows")
    model, kept = Model(order, devices), _kept(order, data.rows)
    passages = [row.passage for row in data.rows]
    base = _once(kept, None, lambda: sums(base_scores(model.peft, passages), data.rows))
    named = of_lineage(config.lineage)
    candidate = _once(kept, order.candidate, lambda: sums(candidate_scores(model.peft, passages, named), data.rows))
    incumbents, unmeasured = _incumbents(config, model, data.rows, kept)
    drafts = order.drafts or drafted(model.peft, data, named)
    return Measured(
        counts=kept.counts,
        base=base,
        candidate=candidate,
        incumbents=incumbents,
        unmeasured=unmeasured,
        drafts=drafts,
        probe_scores=probes.score(model.peft, drafts),
    )


def prepared(config: AssessConfig) -> EvaluationSet:
    """The rows, as tokens, and questions to probe with. Raises TaskError."""
    base = Path(config.base.folder)
    chat = load_chat(base, config.base.chat_prelude)
    return EvaluationSet(
        chat,
        measured_rows(chat, config),
        config.lineage.heldout_rows,
        probes.choose(chat, rows_of(config), config.lineage.seed, context_length(load_config(base))),
    )


def drafted(model: PeftModel, data: EvaluationSet, candidate: Candidate) -> list[Draft]:
    """The candidate's answers. Raises TaskError where there are none: nobody could prove which adapter answers."""
    drafts = probes.draft(data.chat, model, data.questions)
    if not drafts:
        rule = f"the candidate answers none of {len(data.questions)} held-out prompts with text"
        raise candidate.invalid(rule, candidate.silent)
    return drafts


def needed_bytes(order: VariantOrder) -> int:
    """Of memory, at least, after there was too little: what was taken when more was asked for."""
    if order.config.accelerator is Accelerator.GPU:
        weights = spreading.weight_bytes(skeleton(Path(order.config.base.folder)), order.variant)
        return max(spreading.allocated_bytes(), weights)
    return peak_bytes(os.getpid())


def _incumbents(
    config: AssessConfig, model: Model, rows: list[HeldOut], kept: Kept
) -> tuple[dict[Digest, Sums], dict[Digest, str]]:
    """Their scores, and why others have none: a version that answers may have lost its files since."""
    found: dict[Digest, Sums] = {}
    unmeasured: dict[Digest, str] = {}
    for incumbent in config.incumbents:
        folder = Path(incumbent.folder) if incumbent.folder else target_of(Path(config.line_folder), incumbent.digest)
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
