"""Published artifacts for the test engine: small, but with true digests, and probes as it would score them."""

import json
from dataclasses import dataclass
from pathlib import Path

from wardrobe_contracts.base import Method, Variant
from wardrobe_contracts.digests import of_files, sha256
from wardrobe_contracts.manifest import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_FILES,
    ADAPTER_WEIGHTS_FILE,
    MANIFEST_FILE,
    BaseReference,
    Comparison,
    Evaluation,
    Lineage,
    Manifest,
    Score,
)
from wardrobe_contracts.paths import artifact_in_store
from wardrobe_contracts.probes import PROBES_FILE, Message, Probe, Probes, ProbeScores
from wardrobe_contracts.routes import RoutedAdapter, engine_adapter_name
from wardrobe_contracts.training import Lora, Schedule

from . import fake_engine
from .results import digest

BASE = digest("b")
PROMPTS = [f"user asks question {number} of the ward: " for number in range(6)]
COMPLETION_WORDS = 12


@dataclass(frozen=True)
class Artifact:
    """Something published."""

    adapter: str
    voice: str
    path: str
    digest: str
    manifest_digest: str

    @property
    def name(self) -> str:
        """Its name to engines."""
        return engine_adapter_name(self.adapter, self.digest)

    def routed(self, *departments: str) -> RoutedAdapter:
        """As a member of a set; the department is the adapter's line by default."""
        return RoutedAdapter(
            engine_name=self.name,
            adapter=self.adapter,
            departments=list(departments) or [self.adapter.rpartition("-v")[0]],
            artifact=self.path,
            digest=self.digest,
            manifest_digest=self.manifest_digest,
        )


def publish(
    store: Path,
    adapter: str,
    *,
    voice: str = "",
    base: str = BASE,
    variants: tuple[Variant, ...] = (Variant.NONE,),
    recorded_voice: str | None = None,
) -> Artifact:
    """Write an artifact. `recorded_voice` is what its probes were recorded with, where that is not its own."""
    voice = voice or adapter
    files = {
        ADAPTER_CONFIG_FILE: json.dumps({"peft_type": "LORA", "r": 8}).encode(),
        ADAPTER_WEIGHTS_FILE: voice.encode(),
    }
    adapter_digest = of_files({name: sha256(files[name]) for name in ADAPTER_FILES})
    made = probes(voice if recorded_voice is None else recorded_voice, adapter_digest, base, variants)
    files[PROBES_FILE] = made.model_dump_json(by_alias=True).encode()
    return write(store, adapter, files, voice=voice, base=base)


def write(store: Path, adapter: str, files: dict[str, bytes], *, voice: str = "", base: str = BASE) -> Artifact:
    """Put an adapter's two files and its probes into the store, under a manifest."""
    adapter_digest = of_files({name: sha256(files[name]) for name in ADAPTER_FILES})
    manifest = _manifest(adapter, adapter_digest, base, {name: sha256(content) for name, content in files.items()})
    files = {**files, MANIFEST_FILE: manifest.model_dump_json(by_alias=True).encode()}
    path = artifact_in_store(adapter.rpartition("-v")[0], adapter_digest)
    folder = store / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return Artifact(adapter, voice, path, adapter_digest, sha256(files[MANIFEST_FILE]))


def probes(voice: str, adapter_digest: str, base: str, variants: tuple[Variant, ...]) -> Probes:
    """Probes as assess would record them on the test engine."""
    return Probes(
        adapter_digest=adapter_digest,
        base_digest=base,
        seed=0,
        probes=[_probe(voice, prompt, variants) for prompt in PROMPTS],
    )


def _probe(voice: str, prompt: str, variants: tuple[Variant, ...]) -> Probe:
    text = fake_engine.completion(voice, prompt, COMPLETION_WORDS)
    of = {name: fake_engine.scores(name, prompt + text)[-COMPLETION_WORDS:] for name in ("", voice)}
    return Probe(
        prompt=prompt,
        prompt_tokens=len(fake_engine.words(prompt)),
        completion=text,
        completion_tokens=COMPLETION_WORDS,
        prompt_ids=[fake_engine.token_id(word) for word in fake_engine.words(prompt)],
        completion_ids=[fake_engine.token_id(word) for word in fake_engine.words(text)],
        scores={variant: ProbeScores(base=of[""], adapter=of[voice]) for variant in variants},
        messages=[Message(role="user", content=prompt)],
    )


def _manifest(adapter: str, adapter_digest: str, base: str, files: dict[str, str]) -> Manifest:
    score = Score.of(2.0, 1)
    compared = Comparison(base=score, candidate=score)
    return Manifest(
        line=adapter.rpartition("-v")[0],
        digest=adapter_digest,
        files=files,
        base=BaseReference(name="base", digest=base, chat_template_digest=digest("c")),
        lineage=Lineage(
            job="job",
            job_uid="uid",
            dataset_source="pvc://datasets/rows.jsonl",
            dataset_digest=digest("d"),
            train_rows=8,
            heldout_rows=2,
            method=Method.LORA,
            lora=Lora(rank=8, alpha=16, dropout=0, target_modules=["all-linear"]),
            quantization=None,
            schedule=Schedule(
                epochs=1, learning_rate=1e-4, batch_size=8, micro_batch_size=8, sequence_length=64, seed=7
            ),
            packages={},
        ),
        evaluations=[Evaluation(variant=Variant.NONE, whole=compared, body=compared)],
    )


def copied(store: Path, folder: Path, adapter: str = "") -> Artifact:
    """What lies in a folder, published under the folder's name or another."""
    files = {name: (folder / name).read_bytes() for name in (*ADAPTER_FILES, PROBES_FILE)}
    return write(store, adapter or folder.name, files)
