"""Task `import`: an adapter that was trained elsewhere, or by another run, is taken and held to all that ours are.

What is taken is copied into the run's folder first, and only the copy is looked at: what is checked is what assess
measures, whoever writes at the source meanwhile.
"""

import os
import shutil
from pathlib import Path

from pydantic import ValidationError

from wardrobe_contracts import regular_files
from wardrobe_contracts.artifact import MOST_BYTES
from wardrobe_contracts.digests import of_files, sha256_file
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.imports import MOST_ALPHA, MOST_MODULES, MOST_NAME, MOST_RANK, ImportConfig, Imported
from wardrobe_contracts.manifest import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_FILES,
    ADAPTER_WEIGHTS_FILE,
    MANIFEST_FILE,
    Manifest,
)
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.remote import S3Folder
from wardrobe_contracts.training import ADAPTER_FOLDER, Initialization, Lora, Scaling
from wardrobe_models.adapter_files import Adapter
from wardrobe_models.loading import skeleton

from .adapter_config import normalised_config
from .adapter_files import require_fits, validate
from .candidate import Candidate, imported
from .console import say
from .files import clear_left, pod, sync_folder, sync_tree
from .model_files import require_unchanged
from .problems import TaskError, listed
from .sources import fetch, taken_over
from .sources.faults import Asked

PICKLES = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth")
"""Names of weights as PEFT wrote them before safetensors, and as others write them still."""
UNTOLD = (Reason.ADAPTER_MISSING, Reason.CREDENTIALS_REFUSED, Reason.ADAPTER_INVALID)
"""Why there is no manifest to read; Amazon refuses what is not there to who may not list the bucket."""
CHUNK = 1 << 20
RESAVE = "Load it with PEFT where you trust it, and save it again: save_pretrained writes safetensors"


def bring_in(config: ImportConfig) -> Imported:
    """Take the adapter. Raises TaskError where it is not there, is not whole, or is not what this base can have."""
    base, output = Path(config.base.folder), Path(config.output_folder)
    require_unchanged(base, config.base.fingerprint)
    clear_left(output)
    kept = output / ADAPTER_FOLDER
    taken = (None if kept.exists() else take_whole(config, kept)) or examine(config, kept)
    lora = taken.lora
    say(f"rank {lora.rank}, {taken.size_bytes:,} bytes, on {', '.join(lora.target_modules)}")
    return taken


def take_whole(config: ImportConfig, kept: Path) -> Imported | None:
    """Copy and look at the copy before it has the name that assess reads. None where another pod was first: then what
    that has taken is what will be measured. Raises TaskError."""
    if config.fetch:
        own = taken_over(kept.parent)
        fetch_files(config.fetch, config, own)
        config = config.model_copy(update={"folder": str(own)})
    stage = kept.with_name(f".{kept.name}.{pod()}")
    try:
        take(config, stage)
        taken = examine(config, stage)
        sync_tree(stage)
        stage.rename(kept)
    except OSError:
        if not kept.exists():
            raise
        return None
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    sync_folder(kept.parent)
    return taken


def examine(config: ImportConfig, folder: Path) -> Imported:
    """What was copied. Raises TaskError where it is not what this base can have."""
    candidate = imported(config.source)
    digest = digest_of(config, folder)
    say(f"{config.source}: {digest}")
    require_own_base(config, candidate)
    facts = validate(folder, None, candidate)
    require_fits(skeleton(Path(config.base.folder)), facts.adapter, candidate)
    lora = described(facts.adapter, candidate)
    require_short(facts.adapter, config, candidate)
    return Imported(digest=digest, size_bytes=facts.size_bytes, lora=lora)


def fetch_files(remote: S3Folder, config: ImportConfig, folder: Path) -> None:
    """Both files, and the manifest where Wardrobe has published them. Raises TaskError."""
    for name in ADAPTER_FILES:
        try:
            fetch(remote.file(name), folder / name, asked(config, name))
        except TaskError as error:
            if name == ADAPTER_WEIGHTS_FILE and error.reason is Reason.ADAPTER_MISSING:
                require_no_pickle(remote, config)
            raise
    try:
        fetch(remote.file(MANIFEST_FILE), folder / MANIFEST_FILE, asked(config, MANIFEST_FILE))
    except TaskError as error:
        if error.reason not in UNTOLD:
            raise


def require_no_pickle(remote: S3Folder, config: ImportConfig) -> None:
    """Weights that are there in another form are said. Raises TaskError."""
    from .sources import s3  # noqa: PLC0415  which brings its own library

    for other in PICKLES:
        if s3.exists(remote.file(other)):
            raise pickled(config, other)


def asked(config: ImportConfig, name: str) -> Asked:
    """One file, as messages name it."""
    return Asked(
        f"{config.source}/{name}",
        "spec.adapter",
        ExitCode.BAD_ADAPTER,
        missing=Reason.ADAPTER_MISSING,
        large=Reason.ADAPTER_INVALID,
        most=MOST_BYTES[name],
        smaller="Name an adapter whose files are no larger: engines are given no more",
    )


def take(config: ImportConfig, target: Path) -> None:
    """Copy both files: regular ones, of sizes that agents copy, too. Raises TaskError."""
    source = Path(config.folder)
    target.mkdir(parents=True)
    for name in ADAPTER_FILES:
        try:
            copy(source / name, target / name, config)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise absent(config, source, name) from error
        except PermissionError as error:
            rule = f"user {os.getuid()}, as which Wardrobe's pods run, may not read it"
            step = "Make folder and files readable for that user, for example with chmod -R a+rX"
            raise asked(config, name).not_found(rule, step) from error


def copy(source: Path, target: Path, config: ImportConfig) -> None:
    """A file of bounded size. Raises TaskError where it is a folder, a pipe or larger, OSError where it is absent."""
    left = MOST_BYTES[source.name]
    try:
        with regular_files.opened(source) as reader, target.open("wb") as writer:
            while chunk := reader.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise too_large(config, source.name)
                writer.write(chunk)
    except (IsADirectoryError, regular_files.IrregularError) as error:
        raise imported(config.source).invalid(f"{source.name} is no regular file") from error


def too_large(config: ImportConfig, name: str) -> TaskError:
    """A file that no agent would copy."""
    rule = f"{name} is larger than {MOST_BYTES[name]} bytes, and engines are given no more"
    return imported(config.source).invalid(rule)


def absent(config: ImportConfig, folder: Path, name: str) -> TaskError:
    """A file that is not there; where it would be in another form, that is said."""
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    pickles = [other for other in PICKLES if other in there]
    if name == ADAPTER_WEIGHTS_FILE and pickles:
        return pickled(config, pickles[0])
    rule = f"the folder has {listed(there)}" if there else "there is no such folder, or nothing in it"
    if config.source.startswith("run://"):
        step = "Name an attempt that has trained to its end: status.run and the numbers of status.attempts of its run"
    else:
        step = f"Name the folder that holds {' and '.join(ADAPTER_FILES)}"
    return asked(config, name).not_found(rule, step)


def pickled(config: ImportConfig, name: str) -> TaskError:
    """The weights are there in the one form that nothing here opens."""
    return imported(config.source).invalid(
        f"its weights are {name}, a pickle, which runs code when it is loaded", RESAVE
    )


def digest_of(config: ImportConfig, folder: Path) -> str:
    """Of both files. Raises TaskError where another was asked for."""
    found = of_files({name: sha256_file(folder / name) for name in ADAPTER_FILES})
    if config.digest is None or config.digest == found:
        return found
    problem = Problem(
        field="spec.adapter.digest",
        value=config.digest,
        rule=f"both files of {config.source} together have {found}",
        next_step="Find out who changed them; or correct the digest, which `sha256sum "
        f"{' '.join(ADAPTER_FILES)} | sha256sum` prints in their folder",
    )
    raise TaskError(ExitCode.BAD_ADAPTER, Reason.ADAPTER_INVALID, problem)


def require_own_base(config: ImportConfig, candidate: Candidate) -> None:
    """Where Wardrobe has published it, its manifest says of which base it is. Raises TaskError.

    What else is called so tells nothing: then the base's shapes have to do.
    """
    try:
        with regular_files.opened(Path(config.folder) / MANIFEST_FILE) as file:
            manifest = Manifest.model_validate_json(file.read(MOST_BYTES[MANIFEST_FILE]))
    except (OSError, ValidationError):
        return
    if manifest.base.digest != config.base_reference.digest:
        rule = (
            f"its {MANIFEST_FILE} says that it belongs to the base {manifest.base.name} of digest "
            f"{manifest.base.digest}, and BaseModel {config.base_reference.name} has {config.base_reference.digest}"
        )
        raise candidate.invalid(rule, candidate.other_base)


def described(adapter: Adapter, candidate: Candidate) -> Lora:
    """The adapter as its config has it, as an Adapter says it. Raises TaskError where that has no room for it."""
    found = adapter.lora
    if found.r > MOST_RANK:
        raise candidate.invalid(f"its r is {found.r}, and a rank is at most {MOST_RANK}")
    if not (isinstance(found.lora_alpha, int | float) and found.lora_alpha in range(1, MOST_ALPHA + 1)):
        raise candidate.invalid(
            f"its lora_alpha is {found.lora_alpha}, and it is a whole number from 1 to {MOST_ALPHA}"
        )
    modules = sorted({name.rpartition(".")[2] for name in adapter.matrices})
    if len(modules) > MOST_MODULES or any(len(name) > MOST_NAME for name in modules):
        rule = f"it adapts layers of {len(modules)} names, and there may be {MOST_MODULES} of {MOST_NAME} characters"
        raise candidate.invalid(rule)
    dropout = adapter.config.get("lora_dropout", 0)
    return Lora(
        rank=found.r,
        alpha=int(found.lora_alpha),
        dropout=round(dropout, 4) if isinstance(dropout, int | float) and 0 <= dropout < 0.99995 else 0,
        target_modules=modules,
        scaling=Scaling.RANK_STABILIZED if found.use_rslora else Scaling.STANDARD,
        initialization=Initialization.GAUSSIAN
        if adapter.config.get("init_lora_weights") == "gaussian"
        else Initialization.KAIMING_UNIFORM,
    )


def require_short(adapter: Adapter, config: ImportConfig, candidate: Candidate) -> None:
    """Agents copy a configuration up to some size, as it is published. Raises TaskError."""
    size = len(normalised_config(adapter.config, config.base_reference.name))
    if size > MOST_BYTES[ADAPTER_CONFIG_FILE]:
        rule = (
            f"{ADAPTER_CONFIG_FILE} takes {size} bytes, and engines are given at most {MOST_BYTES[ADAPTER_CONFIG_FILE]}"
        )
        raise candidate.invalid(rule, "Name its target_modules by their last parts, such as q_proj")
