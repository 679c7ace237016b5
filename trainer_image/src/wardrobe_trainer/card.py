"""The model card beside the files of an adapter, or of a model of method Full: what its manifest says, for people.

It is made of the manifest alone, so that one manifest has one card. No digest covers it and nothing reads it: who loses
or changes it loses no adapter.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from wardrobe_contracts.base import Digest, Method
from wardrobe_contracts.gate import Judgement, Outcome, Verdict
from wardrobe_contracts.manifest import (
    AnyLineage,
    BaseReference,
    Evaluation,
    ImportLineage,
    Interval,
    Lineage,
    Manifest,
    NotAssessed,
    Origin,
    Score,
)
from wardrobe_contracts.release import ModelManifest
from wardrobe_contracts.text import encodable
from wardrobe_contracts.training import Lora

CARD_FILE = "README.md"
"""The name under which hubs and file browsers show it."""


def card(manifest: Manifest) -> str:
    """An adapter's, in Markdown."""
    return _text(
        _fields("peft", "lora"),
        _head(f"An adapter of the line {manifest.line}", manifest.digest, manifest.base),
        [
            "It fits this base and no other. Its version is in the name of the Adapter that has its digest:",
            "`kubectl get adapters --output wide`.",
        ],
        _origin(manifest.lineage),
        _data(manifest.lineage, manifest.evaluated_rows),
        _scores("adapter", manifest.evaluations, manifest.not_assessed),
        _gate(manifest),
        _asking(manifest),
    )


def model_card(manifest: ModelManifest) -> str:
    """A model's, in Markdown."""
    return _text(
        _fields("transformers"),
        _head("A model", manifest.digest, manifest.base),
        [
            "All its weights were trained, so that adapters of the base do not fit it. Runs that train adapters on it",
            "name the BaseModel that has its digest in `spec.baseModel`.",
        ],
        _making(manifest.lineage, {"method": Method.FULL}),
        _data(manifest.lineage, manifest.evaluated_rows),
        _scores("model", [manifest.evaluation], []),
    )


def _text(*parts: Iterable[str]) -> str:
    return "\n".join(line for part in parts for line in part) + "\n"


def _fields(library: str, *tags: str) -> Sequence[str]:
    """What hubs read before the text. A hub's `base_model` is a name of its own, which a BaseModel need not have."""
    named = ", ".join([*tags, "wardrobe"])
    return ["---", f"library_name: {library}", "pipeline_tag: text-generation", f"tags: [{named}]", "---"]


def _head(title: str, digest: Digest, base: BaseReference) -> Iterator[str]:
    yield from ("", f"# {title}", "")
    yield from _list({"digest": digest, "base": base.name, "base's digest": base.digest})
    yield from _list({"digest of the base's chat template": base.chat_template_digest})
    yield ""


def _origin(found: AnyLineage) -> Iterator[str]:
    if isinstance(found, Lineage):
        yield from _making(found, {"method": found.method, "base in training": _held(found), **_form(found.lora)})
        return
    yield from ("", "## Where it comes from", "", "It was not trained here, so that nobody here knows on what.", "")
    yield from _list(
        {
            "FineTuneJob": f"{found.job} (uid {found.job_uid})",
            "method": found.method,
            "taken from": found.adapter_source,
            "digest there": found.adapter_digest,
            **_form(found.lora),
        }
    )


def _form(lora: Lora) -> dict[str, object]:
    return {
        "rank": lora.rank,
        "alpha": lora.alpha,
        "scaling": lora.scaling,
        "dropout": f"{lora.dropout:g}",
        "target modules": ", ".join(lora.target_modules),
    }


def _making(found: Origin, method: dict[str, object]) -> Iterator[str]:
    schedule = found.schedule
    yield from ("", "## How it was made", "")
    yield from _list(
        {
            "FineTuneJob": f"{found.job} (uid {found.job_uid})",
            **method,
            "epochs": f"{schedule.epochs:g}",
            "learning rate": f"{schedule.learning_rate:g}",
            "rows of a step": schedule.batch_size,
            "tokens of a row at most": schedule.sequence_length,
            "optimizer": schedule.optimizer,
            "seed": schedule.seed,
            "packages": ", ".join(f"{name} {found.packages[name]}" for name in sorted(found.packages)) or "not told",
        }
    )


def _held(lineage: Lineage) -> str:
    if lineage.quantization is None:
        return "as it is stored"
    doubly = ", its scales quantized, too" if lineage.quantization.double_quantization else ""
    return f"{lineage.quantization.type}{doubly}"


def _data(found: Origin | ImportLineage, measured: int | None) -> Iterator[str]:
    trained = {"rows trained on": found.train_rows} if isinstance(found, Origin) else {}
    own = {"held-out source": found.validation_source, "its digest": found.validation_digest}
    own = own if found.validation_source else {}
    yield from ("", f"## What it was {'trained' if trained else 'measured'} on", "")
    yield from _list(
        {
            "source": found.dataset_source,
            "digest": found.dataset_digest,
            **own,
            **trained,
            "rows held out": found.heldout_rows,
            "of these measured": measured or found.heldout_rows,
        }
    )


def _scores(what: str, evaluations: Iterable[Evaluation], not_assessed: Iterable[NotAssessed]) -> Iterator[str]:
    yield from (
        "",
        "## How good it is",
        "",
        "On the rows held out: loss in nats per token of the answers, lower is better. A body is an answer without the",
        f"opening and closing that all have in common. The last column is by how much the {what}'s loss is above that",
        f"of the row, an interval of 95 %: below zero the {what} is better.",
        "",
    )
    columns = ("variant", "model", "loss", "perplexity", "loss of bodies", "perplexity of bodies", f"{what}'s loss")
    yield from _table(columns, [row for found in evaluations for row in _rows(what, found)])
    for missing in not_assessed:
        yield from ("", f"Not measured on {missing.variant}: {_code(missing.message)}")


def _rows(what: str, found: Evaluation) -> Iterator[Sequence[object]]:
    whole, body = found.whole, found.body
    yield (found.variant, "base", *_numbers(whole.base, body.base), _interval(whole.difference))
    yield (found.variant, f"**{what}**", *_numbers(whole.candidate, body.candidate), "")
    for other in found.incumbents:
        yield (found.variant, other.name, *_numbers(other.whole, other.body), _interval(other.whole_difference))


def _numbers(whole: Score, body: Score) -> Iterator[str]:
    for score in (whole, body):
        yield from (f"{score.loss:.4f}", f"{score.perplexity:.2f}")


def _interval(found: Interval | None) -> str:
    return f"{found.low:+.4f} to {found.high:+.4f}" if found else ""


def _gate(manifest: Manifest) -> Iterator[str]:
    yield from ("", "## Verdict", "")
    if manifest.verdict is None:
        yield "None: its run had no gate."
        return
    yield f"**{manifest.verdict}** by the gate of its run."
    yield ""
    columns = ("metric", "against", "variant", "outcome", "higher by", "allowed")
    yield from _table(columns, [_judged(found) for found in manifest.gate])
    for found in manifest.gate:
        if found.message:
            yield from ("", f"{found.metric} against {found.against}: {_code(found.message)}")


def _judged(found: Judgement) -> Sequence[object]:
    against = f"{found.against} {found.adapter}" if found.adapter else found.against
    higher = "" if found.regression is None else f"{found.regression:+.2%}"
    outcome = f"**{found.outcome}**" if found.outcome is Outcome.FAILED else found.outcome
    return (found.metric, against, found.variant or "", outcome, higher, f"{found.max_regression:+.2%}")


def _asking(manifest: Manifest) -> Iterator[str]:
    variants = ", ".join(found.variant for found in manifest.evaluations)
    yield from (
        "",
        "## How to ask it",
        "",
        f"An AdapterDeployment of the base {manifest.base.name}, whose `spec.quantization` is one of {variants}, names",
        "the Adapter for a department:",
        "",
        "```yaml",
        "spec:",
        "  departments:",
        "    <department>:",
        "      adapter: <name of the Adapter>",
        "      keys: {secretName: <Secret with the department's key>}",
    )
    if manifest.verdict is Verdict.REJECTED:
        yield f"      acceptRejected: {manifest.digest}"
    yield from (
        "```",
        "",
        "Who has the key asks at the deployment's URL (`kubectl get adp`):",
        "",
        "```sh",
        'curl "$URL/v1/chat/completions" --header "Authorization: Bearer $KEY" \\',
        """  --data '{"model": "<department>", "messages": [{"role": "user", "content": "…"}]}'""",
        "```",
    )


def _list(facts: dict[str, object]) -> Iterator[str]:
    for name, value in facts.items():
        yield f"- {name}: {_code(value)}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    for cells in (columns, ["---"] * len(columns), *rows):
        yield f"| {' | '.join(map(str, cells))} |"


def _code(value: object) -> str:
    """In one line, to the letter, whatever it is: a source may have signs that Markdown gives a meaning."""
    text = " ".join(encodable(str(value)).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"
