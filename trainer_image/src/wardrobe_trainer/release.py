"""Task `release`: a trained model beside its base on the held-out rows, and in the store as a base of its own."""

from pathlib import Path

import torch
from safetensors import SafetensorError

from wardrobe_contracts.base import Digest, Variant
from wardrobe_contracts.digests import of_files, sha256_file
from wardrobe_contracts.manifest import Evaluation
from wardrobe_contracts.release import RELEASE_FILE, ModelManifest, Release, ReleaseConfig
from wardrobe_models import loading
from wardrobe_models.errors import BadBaseError

from . import spreading
from .card import CARD_FILE, model_card
from .comparison import compare
from .console import say
from .evaluate import HeldOut, counts, sums
from .files import clear_left
from .heldout import measured_rows
from .loading import free_memory, load_base
from .model_files import BaseFaultError, model_files, require_unchanged, tensors, weight_files
from .problems import TaskError, bad_model
from .publish import NotWholeError, publish, published, target_of
from .scoring import are_numbers, log_probabilities, require_numbers
from .spreading import DeviceMap
from .tokens import load_chat


def release(config: ReleaseConfig) -> Release:
    """Measure and publish the trained model. Raises TaskError where it, base or data are not what they must be."""
    models, candidate = Path(config.models_folder), Path(config.candidate_folder)
    clear_left(models)
    require_unchanged(Path(config.base.folder), config.base.fingerprint)
    names = _files(candidate)
    digest = _identity(candidate, names)
    if digest == config.base_reference.digest:
        step = "Raise spec.training.learningRate or epochs, and create another run"
        raise bad_model(value=str(candidate), rule="training has changed nothing of the base", next_step=step)
    say(f"candidate {digest}: {len(names)} files")
    if not published(models, digest, verify_model, bad_model):
        manifest = ModelManifest(
            digest=digest,
            base=config.base_reference,
            lineage=config.lineage,
            evaluation=measure(config),
            evaluated_rows=min(config.max_rows, config.lineage.heldout_rows),
        )
        contents: dict[str, bytes | Path] = {name: candidate / name for name in names}
        contents[RELEASE_FILE] = manifest.model_dump_json(by_alias=True, indent=2).encode()
        contents[CARD_FILE] = model_card(manifest).encode()
        publish(models, config.run, digest, contents, verify_model)
        say(f"published {target_of(models, digest)}")
    return describe(models, digest)


def describe(models: Path, digest: Digest) -> Release:
    """What stands in the store, read from there: the answer is the same whoever published it. Raises TaskError."""
    target = target_of(models, digest)
    names, manifest = _files(target), _manifest(target)
    return Release(
        digest=digest,
        files=len(names),
        size_bytes=sum((target / name).stat().st_size for name in names),
        evaluation=manifest.evaluation,
        evaluated_rows=manifest.evaluated_rows,
    )


def verify_model(folder: Path, digest: Digest) -> ModelManifest:
    """Manifest of a whole model. Raises NotWholeError with what is wrong, OSError where the store fails."""
    try:
        found = _identity(folder, model_files(folder))
        manifest = _manifest(folder)
    except (BaseFaultError, FileNotFoundError, ValueError) as error:
        raise NotWholeError(str(error)) from error
    if found != digest or manifest.digest != digest:
        raise NotWholeError(f"it is the model {found}")
    return manifest


def _manifest(folder: Path) -> ModelManifest:
    return ModelManifest.model_validate_json((folder / RELEASE_FILE).read_bytes())


def measure(config: ReleaseConfig) -> Evaluation:
    """Base and candidate, one at a time in memory. Raises TaskError."""
    base = Path(config.base.folder)
    devices = spreading.place(config.accelerator, base, Variant.NONE)
    rows = measured_rows(load_chat(base, config.base.chat_prelude), config)
    before = _score_base(config, rows, devices)
    free_memory()
    after = _score_candidate(config, rows, devices)
    found = compare(Variant.NONE, counts(rows), sums(before, rows), sums(after, rows))
    losses = f"loss {found.whole.base.loss:.4f} -> {found.whole.candidate.loss:.4f}"
    say(f"{len(rows)} of {config.lineage.heldout_rows} held-out rows: {losses}")
    return found


def _score_base(config: ReleaseConfig, rows: list[HeldOut], devices: DeviceMap | None) -> list[torch.Tensor]:
    model = load_base(Path(config.base.folder), Variant.NONE, config.accelerator, devices=devices)
    found = log_probabilities(model, [row.passage for row in rows])
    require_numbers(found)
    return found


def _score_candidate(config: ReleaseConfig, rows: list[HeldOut], devices: DeviceMap | None) -> list[torch.Tensor]:
    folder = Path(config.candidate_folder)
    try:
        model = loading.load_base(folder, Variant.NONE, config.accelerator, devices=devices)
    except (BadBaseError, SafetensorError, ValueError) as error:
        raise _bad(config, f"it cannot be loaded: {error}") from error
    found = log_probabilities(model, [row.passage for row in rows])
    if not are_numbers(found):
        raise _bad(config, "it scores held-out answers with values that are no numbers")
    return found


def _bad(config: ReleaseConfig, rule: str) -> TaskError:
    step = "Lower spec.training.learningRate and train again"
    return bad_model(value=config.candidate_folder, rule=rule, next_step=step)


def _files(folder: Path) -> list[str]:
    try:
        tensors(folder, weight_files(folder))
        return model_files(folder)
    except (BaseFaultError, FileNotFoundError) as error:
        step = "Leave the run's folder alone; make a new FineTuneJob to train again"
        raise bad_model(value=str(folder), rule=f"it is no whole model: {error}", next_step=step) from error


def _identity(folder: Path, names: list[str]) -> Digest:
    """As inspection computes it."""
    return of_files({name: sha256_file(folder / name) for name in names})
