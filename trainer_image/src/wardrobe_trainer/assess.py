"""Task `assess`: re-open the trained adapter, measure it on every variant of the base, record probes, publish."""

from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel

from wardrobe_contracts.assessment import AssessConfig, Assessment
from wardrobe_contracts.base import Digest, Variant
from wardrobe_contracts.digests import of_files, sha256, sha256_file
from wardrobe_contracts.manifest import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    MANIFEST_FILE,
    Evaluation,
    Manifest,
)
from wardrobe_contracts.probes import PROBES_FILE, Probes, ProbeScores

from . import accelerators, probes
from .adapter_files import AdapterFacts, invalid_adapter, normalised_config, require_fits, validate
from .console import say
from .evaluate import evaluate, prepare
from .heldout import read_frame, read_heldout
from .inspection import context_length, load_config
from .loading import free_memory, load_base
from .model_files import require_unchanged
from .publish import clear_stage, publish, published, target_of
from .tokens import load_chat


@dataclass(frozen=True)
class Measured:
    """What the candidate did on all variants."""

    evaluations: list[Evaluation]
    drafts: list[probes.Draft]
    scores: dict[Variant, list[ProbeScores]]


def assess(config: AssessConfig) -> Assessment:
    """Measure and publish the candidate. Raises TaskError where it, the base or the data are not as they must be."""
    line, candidate = Path(config.line_folder), Path(config.candidate_folder)
    clear_stage(line, config.run)
    require_unchanged(Path(config.base.folder), config.base.fingerprint)
    facts = validate(candidate, config.lineage.lora.rank)
    settled = normalised_config(facts.adapter.config, config.base_reference.name)
    digests = {
        ADAPTER_CONFIG_FILE: sha256(settled),
        ADAPTER_WEIGHTS_FILE: sha256_file(candidate / ADAPTER_WEIGHTS_FILE),
    }
    digest = of_files(digests)
    say(f"candidate {digest}: rank {facts.rank}, {len(facts.adapter.matrices)} modules")
    if published(line, digest):
        require_same_measure(line, digest, config)
        say("an artifact of this digest is published already; it stays as it is")
        return describe(line, digest, facts)
    measured = measure(config, facts)
    recorded = probes.assemble(
        measured.drafts,
        measured.scores,
        adapter=digest,
        base=config.base_reference.digest,
        seed=config.lineage.schedule.seed,
    )
    probes_file = recorded.model_dump_json(by_alias=True, indent=1).encode()
    manifest = Manifest(
        line=config.line,
        digest=digest,
        files={**digests, PROBES_FILE: sha256(probes_file)},
        base=config.base_reference,
        lineage=config.lineage,
        evaluations=measured.evaluations,
    )
    contents: dict[str, bytes | Path] = {
        ADAPTER_CONFIG_FILE: settled,
        ADAPTER_WEIGHTS_FILE: candidate / ADAPTER_WEIGHTS_FILE,
        PROBES_FILE: probes_file,
        MANIFEST_FILE: manifest.model_dump_json(by_alias=True, indent=2).encode(),
    }
    publish(line, config.run, digest, contents)
    say(f"published {target_of(line, digest)}")
    return describe(line, digest, facts)


def require_same_measure(line: Path, digest: Digest, config: AssessConfig) -> None:
    """What is published was measured on the same data and on all variants asked for. Raises TaskError."""
    found = Manifest.model_validate_json((target_of(line, digest) / MANIFEST_FILE).read_bytes())
    lacking = set(config.variants) - {evaluation.variant for evaluation in found.evaluations}
    if lacking or found.lineage.dataset_digest != config.lineage.dataset_digest:
        what = f"without {', '.join(sorted(lacking))}" if lacking else "on another dataset"
        raise invalid_adapter(
            f"the very same adapter was published before by {found.lineage.job} and measured {what}",
            "Nothing published is overwritten: train with another spec.training.seed to measure anew",
        )


def describe(line: Path, digest: Digest, facts: AdapterFacts) -> Assessment:
    """What stands in the store, read from there: the answer is the same whoever published it."""
    target = target_of(line, digest)
    manifest = Manifest.model_validate_json((target / MANIFEST_FILE).read_bytes())
    recorded = Probes.model_validate_json((target / PROBES_FILE).read_bytes())
    return Assessment(
        digest=digest,
        manifest_digest=sha256_file(target / MANIFEST_FILE),
        size_bytes=sum(path.stat().st_size for path in target.iterdir()),
        rank=facts.rank,
        target_modules=facts.target_modules,
        evaluations=manifest.evaluations,
        probes=len(recorded.probes),
        indistinguishable=recorded.indistinguishable,
    )


def measure(config: AssessConfig, facts: AdapterFacts) -> Measured:
    """Load each variant in turn, one at a time in memory. Raises TaskError."""
    base, length = Path(config.base.folder), config.lineage.schedule.sequence_length
    accelerators.take_one(config.accelerator, base, max(config.variants, key=accelerators.LEAST_SHARE.__getitem__))
    chat = load_chat(base)
    rows = read_heldout(config)
    heldout = prepare(chat, rows, read_frame(Path(config.data_folder)), length)
    questions = probes.choose(chat, rows, config.lineage.schedule.seed, context_length(load_config(base)))
    say(f"{len(rows)} held-out rows, {sum(len(row.body) for row in heldout)} answer tokens, {len(questions)} probes")
    drafts: list[probes.Draft] = []
    evaluations: list[Evaluation] = []
    scores: dict[Variant, list[ProbeScores]] = {}
    for variant in in_order(config.variants):
        model = load_candidate(config, facts, variant)
        drafts = drafts or probes.draft(chat, model, questions)
        require_probes(drafts, len(questions))
        evaluations.append(evaluate(model, variant, heldout))
        scores[variant] = probes.score(model, drafts)
        say(summary(evaluations[-1], scores[variant]))
        del model
        free_memory()
    return Measured(evaluations, drafts, scores)


def in_order(variants: list[Variant]) -> list[Variant]:
    """Each variant once, the unquantized base first: the completions are generated on it."""
    return sorted(set(variants), key=list(Variant).index)


def load_candidate(config: AssessConfig, facts: AdapterFacts, variant: Variant) -> PeftModel:
    """The base in one variant with the candidate on it. Raises TaskError where they do not fit."""
    base = load_base(Path(config.base.folder), variant, config.accelerator)
    require_fits(base, facts.adapter)
    model = PeftModel.from_pretrained(base, config.candidate_folder, is_trainable=False)
    return model.eval()


def require_probes(drafts: list[probes.Draft], prompts: int) -> None:
    """Without a probe nobody can prove which adapter answers. Raises TaskError."""
    if not drafts:
        raise invalid_adapter(
            f"the candidate answers none of {prompts} held-out prompts with text",
            "Look at the training's loss; lower spec.training.learningRate, or check the dataset's answers",
        )


def summary(evaluation: Evaluation, scores: list[ProbeScores]) -> str:
    """One line about a variant."""
    whole, body = evaluation.whole, evaluation.body
    differ = probes.difference(scores)
    verdict = "" if probes.provable(evaluation.variant, scores) else ", too little to prove which of them answers"
    return (
        f"on {evaluation.variant}: loss {whole.base.loss:.4f} -> {whole.candidate.loss:.4f}, "
        f"body {body.base.loss:.4f} -> {body.candidate.loss:.4f}, probes differ by {differ:.2f} per token{verdict}"
    )
