"""Task `assess`: measure the trained adapter on each variant, hold it against the gate, record probes, publish."""

from dataclasses import dataclass, field
from pathlib import Path

from wardrobe_contracts.assessment import AssessConfig, Assessment
from wardrobe_contracts.base import Digest, Variant
from wardrobe_contracts.digests import of_files, sha256, sha256_file
from wardrobe_contracts.gate import Judgement
from wardrobe_contracts.manifest import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    MANIFEST_FILE,
    AnyLineage,
    Evaluation,
    Manifest,
)
from wardrobe_contracts.probes import PROBES_FILE, Probes, ProbeScores

from . import drafts, gate
from .adapter_config import normalised_config, read_config
from .candidate import of_lineage
from .card import CARD_FILE, card
from .comparison import compare
from .console import say
from .files import clear_left
from .model_files import require_unchanged
from .publish import publish, published, target_of
from .variants import Found, Measured, measure_all


def assess(config: AssessConfig) -> Assessment:
    """Measure and publish the candidate.

    Raises TaskError or ProcessFailedError where it, the base or the data are not as they must be, or no variant fits.
    """
    line, candidate = Path(config.line_folder), Path(config.candidate_folder)
    clear_left(line)
    require_unchanged(Path(config.base.folder), config.base.fingerprint)
    settled = normalised_config(read_config(candidate, of_lineage(config.lineage)), config.base_reference.name)
    digests = {
        ADAPTER_CONFIG_FILE: sha256(settled),
        ADAPTER_WEIGHTS_FILE: sha256_file(candidate / ADAPTER_WEIGHTS_FILE),
    }
    digest = of_files(digests)
    say(f"candidate {digest}")
    if published(line, digest):
        return _as_published(line, digest, config)
    found = measure_all(config, digest)
    scores = scores_of(config, found)
    contents: dict[str, bytes | Path] = {
        ADAPTER_CONFIG_FILE: settled,
        ADAPTER_WEIGHTS_FILE: candidate / ADAPTER_WEIGHTS_FILE,
        **_written(config, digest, digests, found, scores),
    }
    if not publish(line, config.run, digest, contents):
        return _as_published(line, digest, config, scores)
    say(f"published {target_of(line, digest)}")
    return describe(line, digest, config, scores)


def _as_published(line: Path, digest: Digest, config: AssessConfig, mine: "Scores | None" = None) -> Assessment:
    """What another run, or another pod of this one, has published, with its scores. Raises TaskError.

    Where they lack incumbents of this run: `mine`, or what is measured now.
    """
    require_same_measure(line, digest, config)
    say("an artifact of this digest is published already; it stays as it is")
    return describe(line, digest, config, known_scores(line, digest, config) or mine or _anew(line, digest, config))


def _written(
    config: AssessConfig, digest: Digest, digests: dict[str, Digest], found: Found, scores: "Scores"
) -> dict[str, bytes]:
    """The files that tell of the adapter's own two. The card is made of the manifest, which so cannot name it."""
    probes_file = _probes(config, digest, found).model_dump_json(by_alias=True, indent=1).encode()
    judgements = scores.judged(config)
    manifest = Manifest(
        line=config.line,
        digest=digest,
        files={**digests, PROBES_FILE: sha256(probes_file)},
        base=config.base_reference,
        lineage=config.lineage,
        evaluations=scores.evaluations,
        evaluated_rows=scores.rows,
        heldout_digest=config.heldout_digest,
        not_assessed=found.not_assessed,
        verdict=gate.verdict(judgements),
        gate=judgements,
    )
    manifest_file = manifest.model_dump_json(by_alias=True, indent=2).encode()
    return {PROBES_FILE: probes_file, MANIFEST_FILE: manifest_file, CARD_FILE: card(manifest).encode()}


@dataclass(frozen=True)
class Scores:
    """Of base, candidate and incumbents."""

    evaluations: list[Evaluation]
    rows: int | None
    """On how many rows; None as in a manifest of before it was told."""
    unmeasured: dict[Digest, str] = field(default_factory=dict)
    """Incumbents of which there are none, and why."""

    def judged(self, config: AssessConfig) -> list[Judgement]:
        """By the gate of this run."""
        return gate.judge(config.gate, self.evaluations, config.incumbents, self.unmeasured)


def scores_of(config: AssessConfig, found: Found) -> Scores:
    """From what each row came to."""
    evaluations = [_evaluation(config, variant, found.measured[variant]) for variant in sorted_variants(found)]
    for evaluation in evaluations:
        say(told(evaluation, found.measured[evaluation.variant].probe_scores))
    unmeasured = {name: why for one in found.measured.values() for name, why in one.unmeasured.items()}
    return Scores(evaluations, found.rows, unmeasured)


def sorted_variants(found: Found) -> list[Variant]:
    """In one order, whichever was measured first."""
    return sorted(found.measured, key=list(Variant).index)


def _evaluation(config: AssessConfig, variant: Variant, measured: Measured) -> Evaluation:
    scored = [(one, measured.incumbents[one.digest]) for one in config.incumbents if one.digest in measured.incumbents]
    return compare(variant, measured.counts, measured.base, measured.candidate, scored)


def known_scores(line: Path, digest: Digest, config: AssessConfig) -> Scores | None:
    """As published; None where this run has incumbents that were none when that was measured."""
    manifest = Manifest.model_validate_json((target_of(line, digest) / MANIFEST_FILE).read_bytes())
    names = {incumbent.digest: incumbent.name for incumbent in config.incumbents}
    if any(names.keys() - {one.digest for one in found.incumbents} for found in manifest.evaluations):
        return None
    ours = [
        [one.model_copy(update={"name": names[one.digest]}) for one in found.incumbents if one.digest in names]
        for found in manifest.evaluations
    ]
    pairs = zip(manifest.evaluations, ours, strict=True)
    evaluations = [found.model_copy(update={"incumbents": incumbents}) for found, incumbents in pairs]
    return Scores(evaluations, manifest.evaluated_rows)


def _anew(line: Path, digest: Digest, config: AssessConfig) -> Scores:
    """Of a published candidate beside other incumbents, on the variants that its probes are of."""
    manifest = Manifest.model_validate_json((target_of(line, digest) / MANIFEST_FILE).read_bytes())
    variants = [evaluation.variant for evaluation in manifest.evaluations]
    config = config.model_copy(update={"variants": variants})
    return scores_of(config, measure_all(config, digest))


def _probes(config: AssessConfig, digest: Digest, found: Found) -> Probes:
    variants = sorted_variants(found)
    return drafts.assemble(
        found.measured[variants[0]].drafts,
        {variant: found.measured[variant].probe_scores for variant in variants},
        adapter=digest,
        base=config.base_reference.digest,
        seed=config.lineage.seed,
    )


def require_same_measure(line: Path, digest: Digest, config: AssessConfig) -> None:
    """What is published was measured on the same rows and on all variants asked for. Raises TaskError."""
    found = Manifest.model_validate_json((target_of(line, digest) / MANIFEST_FILE).read_bytes())
    assessed, not_assessed = ({one.variant for one in found.evaluations}, {one.variant for one in found.not_assessed})
    lacking = set(config.variants) - assessed - not_assessed
    ours, theirs = _measured_on(config.lineage), _measured_on(found.lineage)
    other_rows = found.heldout_digest not in {None, config.heldout_digest}
    if lacking or other_rows or ours != theirs:
        what = f"without {', '.join(sorted(lacking))}" if lacking else "on another dataset, or other rows of it"
        candidate = of_lineage(config.lineage)
        rule = f"the very same adapter was published before by {found.lineage.job} and measured {what}"
        raise candidate.invalid(rule, candidate.published)


def _measured_on(lineage: AnyLineage) -> tuple[object, ...]:
    """All that says which rows were measured where no digest does."""
    return lineage.dataset_digest, lineage.validation_digest, lineage.heldout_rows, lineage.sequence_length


def describe(line: Path, digest: Digest, config: AssessConfig, scores: Scores) -> Assessment:
    """What stands in the store, read from there: the answer is the same whoever published it.

    But for the gate: the same scores are held against what this run asks for.
    """
    target = target_of(line, digest)
    manifest = Manifest.model_validate_json((target / MANIFEST_FILE).read_bytes())
    recorded = Probes.model_validate_json((target / PROBES_FILE).read_bytes())
    settings, judgements = read_config(target), scores.judged(config)
    for judgement in judgements:
        say(summary(judgement))
    return Assessment(
        digest=digest,
        manifest_digest=sha256_file(target / MANIFEST_FILE),
        size_bytes=sum((target / name).stat().st_size for name in (*manifest.files, MANIFEST_FILE)),
        rank=settings["r"],
        target_modules=sorted(settings["target_modules"]),
        evaluations=scores.evaluations,
        evaluated_rows=scores.rows,
        not_assessed=manifest.not_assessed,
        verdict=gate.verdict(judgements),
        gate=gate.worst(config.gate, judgements),
        probes=len(recorded.probes),
        indistinguishable=recorded.indistinguishable,
    )


def told(evaluation: Evaluation, scores: list[ProbeScores]) -> str:
    """One line about a variant."""
    whole, body = evaluation.whole, evaluation.body
    differ = drafts.difference(scores)
    unproved = "" if drafts.provable(evaluation.variant, scores) else ", too little to prove which of them answers"
    beside = "".join(f", {one.name} {one.whole.loss:.4f}" for one in evaluation.incumbents)
    return (
        f"on {evaluation.variant}: loss {whole.base.loss:.4f} -> {whole.candidate.loss:.4f}{beside}, "
        f"body {body.base.loss:.4f} -> {body.candidate.loss:.4f}, probes differ by {differ:.2f} per token{unproved}"
    )


def summary(found: Judgement) -> str:
    """One line about a rule of the gate."""
    against = f"{found.against} {found.adapter}" if found.adapter else found.against
    where = f" on {found.variant}" if found.variant else ""
    numbers = f"{found.regression:+.2%} of at most {found.max_regression:+.2%}" if found.regression is not None else ""
    return f"gate: {found.metric} against {against}{where}: {found.outcome}: {numbers or found.message}"
