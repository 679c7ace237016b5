"""Task `verify`: an Adapter that somebody wrote by hand is held against the files that it names.

What agents look at before they load an adapter is looked at here, too, and all that a run's own adapter has been held
to: so a copy that went wrong is said when the Adapter is written, not when a department is pointed at it.
"""

import os
from pathlib import Path

from pydantic import ValidationError

from wardrobe_contracts import regular_files
from wardrobe_contracts.artifact import MOST_BYTES
from wardrobe_contracts.base import Digest
from wardrobe_contracts.digests import of_files, sha256, sha256_file
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.manifest import ADAPTER_FILES, MANIFEST_FILE, Manifest
from wardrobe_contracts.probes import PROBES_FILE, Probes
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.training import Scaling
from wardrobe_contracts.verification import Verified, VerifyConfig
from wardrobe_models.adapter_files import Adapter
from wardrobe_models.loading import skeleton

from .adapter_files import require_fits, validate
from .candidate import Candidate
from .model_files import require_unchanged
from .problems import TaskError, listed

COPY = "Copy the whole folder again from where it was published"
CORRECT = "Write the Adapter as its manifest has it"
HERE = "Copy the whole folder from where it was published, with its manifest.json"


def verify_artifact(config: VerifyConfig) -> Verified:
    """Hold the files against the Adapter. Raises TaskError with the first thing that is not so."""
    base, folder = Path(config.base.folder), Path(config.artifact_folder)
    require_unchanged(base, config.base.fingerprint)
    sizes = {name: size_of(config, folder / name) for name in (MANIFEST_FILE, *ADAPTER_FILES, PROBES_FILE)}
    manifest = manifest_of(config, folder)
    require_listed(config, folder, manifest)
    require_base(config, manifest)
    candidate = Candidate(
        field="spec.artifact.path",
        value=config.artifact,
        again=COPY,
        diverged="Name an adapter of numbers: this one cannot be mended",
        unchanging="Name the adapter as it is after its training",
        other_base="Name the BaseModel that it was trained on in spec.baseModel",
    )
    adapter = validate(folder, None, candidate).adapter
    require_fits(skeleton(base), adapter, candidate)
    require_described(config, adapter)
    require_measured(config, manifest)
    require_judged(config, manifest)
    require_probed(config, folder)
    return Verified(digest=config.digest, size_bytes=sum(sizes.values()))


def size_of(config: VerifyConfig, path: Path) -> int:
    """Of a regular file, not larger than agents copy. Raises TaskError."""
    try:
        with regular_files.opened(path) as file:
            size = os.fstat(file.fileno()).st_size
    except (FileNotFoundError, NotADirectoryError) as error:
        there = sorted(one.name for one in path.parent.iterdir()) if path.parent.is_dir() else []
        rule = f"{path.name} is missing; the folder has {listed(there)}" if there else "the store has no such folder"
        raise fault("spec.artifact.path", config.artifact, rule, HERE, Reason.ADAPTER_MISSING) from error
    except PermissionError as error:
        rule = f"user {os.getuid()}, as which Wardrobe's pods run, may not read {path.name}"
        step = "Make folder and files readable for that user, for example with chmod -R a+rX"
        raise fault("spec.artifact.path", config.artifact, rule, step, Reason.ADAPTER_MISSING) from error
    except (IsADirectoryError, regular_files.IrregularError) as error:
        raise fault("spec.artifact.path", config.artifact, f"{path.name} is no regular file", COPY) from error
    if size > MOST_BYTES[path.name]:
        rule = f"{path.name} is larger than {MOST_BYTES[path.name]} bytes, and engines are given no more"
        raise fault("spec.artifact.path", config.artifact, rule, COPY)
    return size


def manifest_of(config: VerifyConfig, folder: Path) -> Manifest:
    """The one that the Adapter names by digest. Raises TaskError."""
    text = (folder / MANIFEST_FILE).read_bytes()
    if (found := sha256(text)) != config.manifest_digest:
        rule = f"{config.artifact}/{MANIFEST_FILE} has {found}"
        raise fault("spec.manifestDigest", config.manifest_digest, rule, f"{COPY}, or correct the digest")
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        rule = f"its {MANIFEST_FILE} is none of Wardrobe's: {error.error_count()} faults"
        raise fault("spec.artifact.path", config.artifact, rule, HERE) from error


def require_listed(config: VerifyConfig, folder: Path, manifest: Manifest) -> None:
    """All files are those that the manifest lists, and both of the adapter's have its digest. Raises TaskError."""
    names = (*ADAPTER_FILES, PROBES_FILE)
    found = {name: sha256_file(folder / name) for name in names}
    if changed := sorted(name for name in names if found[name] != manifest.files.get(name)):
        rule = f"{listed(changed)} {'is' if len(changed) == 1 else 'are'} not what {MANIFEST_FILE} lists"
        raise fault("spec.artifact.path", config.artifact, rule, COPY)
    digest: Digest = of_files({name: found[name] for name in ADAPTER_FILES})
    if digest != config.digest:
        raise fault("spec.digest", config.digest, f"the files of {config.artifact} have {digest}", CORRECT)


def require_base(config: VerifyConfig, manifest: Manifest) -> None:
    """Raises TaskError."""
    if manifest.base.digest != config.base_reference.digest:
        rule = f"its {MANIFEST_FILE} says that it belongs to the base {manifest.base.name} of {manifest.base.digest}"
        raise fault("spec.baseModel.digest", config.base_reference.digest, rule, CORRECT)


def require_described(config: VerifyConfig, adapter: Adapter) -> None:
    """By the size that is written, engines reserve memory. Raises TaskError."""
    scaling = Scaling.RANK_STABILIZED if adapter.lora.use_rslora else Scaling.STANDARD
    told = {"rank": config.rank, "alpha": config.alpha, "scaling": config.scaling}
    real = {"rank": adapter.lora.r, "alpha": adapter.lora.lora_alpha, "scaling": scaling}
    for name, value in told.items():
        if value != real[name]:
            raise fault(f"spec.lora.{name}", str(value), f"its configuration has {real[name]}", CORRECT)
    named = {module.rpartition(".")[2] for module in config.target_modules}
    adapted = {module.rpartition(".")[2] for module in adapter.matrices}
    if named != {"all-linear"} and (others := sorted(adapted - named)):
        rule = f"its weights adapt {listed(others)}, too"
        raise fault("spec.lora.targetModules", ", ".join(config.target_modules), rule, CORRECT)


def require_measured(config: VerifyConfig, manifest: Manifest) -> None:
    """The scores are those that were measured. Raises TaskError."""
    real = {one.variant: (one.whole.base.loss, one.whole.candidate.loss) for one in manifest.evaluations}
    for one in config.measured:
        if (losses := real.get(one.variant)) != (one.base, one.candidate):
            told = f"{one.variant}: {one.base:.4f} → {one.candidate:.4f}"
            has = f"{losses[0]:.4f} → {losses[1]:.4f}" if losses else "nothing measured on it"
            raise fault("spec.evaluations", told, f"its {MANIFEST_FILE} has {has}", CORRECT)


def require_judged(config: VerifyConfig, manifest: Manifest) -> None:
    """A version that its gate rejected answers only by its digest, and only if its Adapter says so. Raises
    TaskError."""
    if config.verdict is not manifest.verdict:
        rule = f"its {MANIFEST_FILE} has {manifest.verdict or 'none'}"
        raise fault("spec.verdict", config.verdict or "(not set)", rule, CORRECT)


def require_probed(config: VerifyConfig, folder: Path) -> None:
    """On what it is said to be measured on, it can be proved. Raises TaskError."""
    try:
        probes = Probes.model_validate_json((folder / PROBES_FILE).read_bytes())
    except ValidationError as error:
        rule = f"its {PROBES_FILE} holds no probes: {error.error_count()} faults"
        raise fault("spec.artifact.path", config.artifact, rule, COPY) from error
    for one in config.measured:
        if not probes.probes or any(one.variant not in probe.scores for probe in probes.probes):
            rule = f"its {PROBES_FILE} has no scores on it, by which engines would prove it"
            raise fault("spec.evaluations", one.variant, rule, CORRECT)


def fault(field: str, value: str, rule: str, next_step: str, reason: Reason = Reason.ADAPTER_INVALID) -> TaskError:
    """Of the Adapter's spec."""
    problem = Problem(field=field, value=value, rule=rule, next_step=next_step)
    return TaskError(ExitCode.BAD_ADAPTER, reason, problem)
