"""The model card says what the manifest says, to the letter, and nothing of a source becomes more than text."""

import re

import pytest
from support.results import digest

from wardrobe_contracts.base import Method, Variant
from wardrobe_contracts.exits import Reason
from wardrobe_contracts.gate import Against, Judgement, Metric, Outcome, Verdict
from wardrobe_contracts.manifest import (
    BaseReference,
    Comparison,
    Evaluation,
    ImportLineage,
    IncumbentScores,
    Interval,
    Lineage,
    Manifest,
    NotAssessed,
    Origin,
    Score,
)
from wardrobe_contracts.release import ModelManifest
from wardrobe_contracts.training import Lora, Quantization, Schedule
from wardrobe_trainer.card import card, model_card


def scores(loss: float) -> Score:
    return Score.of(loss * 100, 100)


def evaluation(variant: Variant, loss: float) -> Evaluation:
    answers = IncumbentScores(
        name="cardiology-v1",
        digest=digest("7"),
        whole=scores(1.3),
        body=scores(1.4),
        whole_difference=Interval(low=0.1, high=0.3),
        body_difference=Interval(low=0.1, high=0.3),
    )
    whole = Comparison(base=scores(2.5), candidate=scores(loss), difference=Interval(low=-1.25, high=-0.75))
    body = Comparison(base=scores(2.75), candidate=scores(loss + 0.25))
    return Evaluation(variant=variant, whole=whole, body=body, incumbents=[answers])


FAILED = Judgement(
    metric=Metric.LOSS,
    against=Against.INCUMBENT,
    max_regression=0.02,
    outcome=Outcome.FAILED,
    variant=Variant.NF4,
    adapter="cardiology-v1",
    reference=1.3,
    candidate=1.5,
    regression=0.1538,
)
MANIFEST = Manifest(
    line="cardiology",
    digest=digest("1"),
    files={},
    base=BaseReference(name="tantanila-base", digest=digest("2"), chat_template_digest=digest("3")),
    lineage=Lineage(
        job="cardiology-2026-11",
        job_uid="1c9b5d0e",
        dataset_source="pvc://datasets/cardiology.jsonl",
        dataset_digest=digest("4"),
        train_rows=457,
        heldout_rows=98,
        method=Method.QLORA,
        lora=Lora(rank=16, alpha=32, dropout=0.05, target_modules=["q_proj", "v_proj"]),
        quantization=Quantization(type=Variant.NF4, double_quantization=True),
        schedule=Schedule(epochs=2, learning_rate=3e-4, batch_size=8, micro_batch_size=4, sequence_length=512, seed=7),
        packages={"torch": "2.9", "peft": "0.21"},
    ),
    evaluations=[evaluation(Variant.NONE, 1.5), evaluation(Variant.NF4, 1.6)],
    evaluated_rows=90,
    not_assessed=[NotAssessed(variant=Variant.INT8, reason=Reason.OUT_OF_MEMORY, message="it needs more\nmemory")],
    verdict=Verdict.REJECTED,
    gate=[FAILED],
)


def facts(text: str) -> dict[str, str]:
    return dict(re.findall(r"^- ([^:]+): `+ ?(.+?) ?`+$", text, re.MULTILINE))


def rows(text: str, columns: int) -> list[list[str]]:
    """Of the table with so many columns, without its heading."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [row for row in cells if len(row) == columns][2:]


def test_how_it_was_made_and_of_what() -> None:
    found = facts(card(MANIFEST))
    assert (
        found
        | {
            "base": "tantanila-base",
            "base's digest": digest("2"),
            "digest of the base's chat template": digest("3"),
            "FineTuneJob": "cardiology-2026-11 (uid 1c9b5d0e)",
            "method": "QLoRA",
            "base in training": "NF4, its scales quantized, too",
            "rank": "16",
            "alpha": "32",
            "dropout": "0.05",
            "target modules": "q_proj, v_proj",
            "learning rate": "0.0003",
            "seed": "7",
            "packages": "peft 0.21, torch 2.9",
            "source": "pvc://datasets/cardiology.jsonl",
            "rows trained on": "457",
            "rows held out": "98",
            "of these measured": "90",
        }
        == found
    )
    text = card(MANIFEST)
    assert f"- digest: `{digest('1')}`" in text, "the adapter's"
    assert f"- digest: `{digest('4')}`" in text, "the dataset's"


def test_scores_stand_beside_the_bases_and_those_of_what_answered() -> None:
    table = rows(card(MANIFEST), columns=7)
    assert [row[:2] for row in table] == [
        [variant, model] for variant in ("None", "NF4") for model in ("base", "**adapter**", "cardiology-v1")
    ]
    assert table[0] == ["None", "base", "2.5000", "12.18", "2.7500", "15.64", "-1.2500 to -0.7500"]
    assert table[1] == ["None", "**adapter**", "1.5000", "4.48", "1.7500", "5.75", ""]
    assert table[2] == ["None", "cardiology-v1", "1.3000", "3.67", "1.4000", "4.06", "+0.1000 to +0.3000"]
    assert "Not measured on INT8: `it needs more memory`" in card(MANIFEST)


def test_the_verdict_with_what_led_to_it() -> None:
    assert "**Rejected** by the gate of its run." in card(MANIFEST)
    assert rows(card(MANIFEST), columns=6) == [
        ["Loss", "Incumbent cardiology-v1", "NF4", "**Failed**", "+15.38%", "+2.00%"]
    ]
    assert "None: its run had no gate." in card(MANIFEST.model_copy(update={"verdict": None, "gate": []}))


@pytest.mark.parametrize(("verdict", "accepted"), [(Verdict.REJECTED, digest("1")), (Verdict.ACCEPTED, None)])
def test_what_has_to_be_written_for_a_department_to_ask_it(verdict: Verdict, accepted: str | None) -> None:
    text = card(MANIFEST.model_copy(update={"verdict": verdict}))
    (block,) = re.findall(r"```yaml\n(.+?)```", text, re.DOTALL)
    settings = dict(re.findall(r"^      (\w+): (.+)$", block, re.MULTILINE))
    assert settings.keys() - {"acceptRejected"} == {"adapter", "keys"}
    assert settings.get("acceptRejected") == accepted
    assert "`spec.quantization` is one of None, NF4" in text


def test_what_is_imported_says_where_it_was_taken_from_and_not_what_nobody_knows() -> None:
    lineage = ImportLineage(
        job="from-outside",
        job_uid="7",
        adapter_source="s3://adapters/heart",
        adapter_digest=digest("8"),
        dataset_source="pvc://datasets/cardiology.jsonl",
        dataset_digest=digest("4"),
        heldout_rows=98,
        lora=MANIFEST.lineage.lora,
        sequence_length=512,
        seed=7,
    )
    text = card(MANIFEST.model_copy(update={"lineage": lineage}))
    told = {"method": "Import", "taken from": "s3://adapters/heart", "digest there": digest("8"), "rank": "16"}
    assert facts(text).items() >= told.items()
    assert "## What it was measured on" in text
    assert not facts(text).keys() & {"rows trained on", "learning rate", "base in training"}


def test_a_held_out_set_of_its_own_is_named() -> None:
    own = {"validation_source": "pvc://data/heldout.csv", "validation_digest": digest("4")}
    manifest = MANIFEST.model_copy(update={"lineage": MANIFEST.lineage.model_copy(update=own)})
    found = facts(card(manifest))
    assert "pvc://data/heldout.csv" in found["held-out source"]
    assert digest("4") in found["its digest"]
    assert "held-out source" not in facts(card(MANIFEST))


def test_a_models_card_says_the_same_of_a_model() -> None:
    origin = Origin(**dict(MANIFEST.lineage))
    evaluation = MANIFEST.evaluations[0].model_copy(update={"incumbents": []})
    found = ModelManifest(digest=digest("5"), base=MANIFEST.base, lineage=origin, evaluation=evaluation)
    text = model_card(found)
    assert facts(text).items() >= {"method": "Full", "epochs": "2", "of these measured": "98"}.items()
    assert f"- digest: `{digest('5')}`" in text
    assert [row[1] for row in rows(text, columns=7)] == ["base", "**model**"]
    assert "below zero the model is better" in text
    assert "library_name: transformers" in text.splitlines()


def test_hubs_read_its_fields() -> None:
    before, fields, _ = card(MANIFEST).split("---\n", 2)
    assert before == ""
    assert fields.splitlines() == ["library_name: peft", "pipeline_tag: text-generation", "tags: [lora, wardrobe]"]


@pytest.mark.parametrize("source", ["pvc://data/a`b.jsonl", "pvc://data/``", "x\n\n# A heading\n| a | b |", "<b>|</b>"])
def test_a_source_is_text_whatever_it_says(source: str) -> None:
    lineage = MANIFEST.lineage.model_copy(update={"dataset_source": source})
    text = card(MANIFEST.model_copy(update={"lineage": lineage}))
    assert facts(text)["source"] == " ".join(source.split())
    assert "\n# A heading" not in text


def test_one_manifest_has_one_card() -> None:
    """Whoever reads it, from whichever JSON."""
    again = Manifest.model_validate_json(MANIFEST.model_dump_json(by_alias=True))
    assert isinstance(again.lineage, Lineage)
    shuffled = again.lineage.model_copy(update={"packages": dict(reversed(again.lineage.packages.items()))})
    assert card(again.model_copy(update={"lineage": shuffled})) == card(MANIFEST)
