"""TGIs that tests share: each start takes seconds of the stand-in and half a minute of the real one."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import lora_files, tgi
from support.artifacts import BASE
from support.tgi import WARDROBE, Served, Tgi

from wardrobe_contracts.digests import of_files, sha256_file
from wardrobe_contracts.engines.tgi import ZERO_ADAPTER
from wardrobe_contracts.manifest import ADAPTER_FILES
from wardrobe_contracts.probes import PROBES_FILE, Probes
from wardrobe_contracts.routes import engine_adapter_name
from wardrobe_gateway.agent.tgi.forms import read_form, set_form
from wardrobe_gateway.agent.tgi.padding import WrittenSet, environment, write_set

TRAINER = tgi.REPOSITORY / ".venv-trainer" / "bin" / "python"
SHAPE = lora_files.base_shape(tgi.TANTANILA)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tgi.readable_base(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adapters of four forms with their probes."""
    if given := os.environ.get("WARDROBE_TGI_ADAPTERS"):  # recorded before, to save a minute
        return Path(given)
    folder = tmp_path_factory.mktemp("recorded")
    environment = {**os.environ, "PYTHONPATH": str(tgi.REPOSITORY / "tests")}
    command = [str(TRAINER), "-m", "support.record_artifacts", str(folder), BASE, "--forms", "None"]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def made(recorded: Path) -> WrittenSet:
    """The set of them, in one form."""
    digests = {
        path.name: of_files({name: sha256_file(path / name) for name in ADAPTER_FILES}) for path in _folders(recorded)
    }
    form = set_form([read_form(path, SHAPE) for path in _folders(recorded)], 1)
    return WrittenSet(
        members={engine_adapter_name(name, digest): digest for name, digest in digests.items()}, form=form
    )


def _folders(recorded: Path) -> list[Path]:
    return sorted(path for path in recorded.iterdir() if path.is_dir())


def _served(running: Tgi, recorded: Path, made: WrittenSet) -> Served:
    names = dict(zip((path.name for path in _folders(recorded)), sorted(made.members), strict=True))
    probes = {path.name: Probes.model_validate_json((path / PROBES_FILE).read_bytes()) for path in _folders(recorded)}
    return Served(running, names, probes)


@pytest.fixture(scope="session")
def padded(base: Path, recorded: Path, made: WrittenSet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """As Wardrobe starts it: copies of one form, and the zero adapter."""
    folder = tmp_path_factory.mktemp("padded")
    folders = dict(zip(sorted(made.members), _folders(recorded), strict=True))
    write_set(folder / "set", made, folders, SHAPE)
    with tgi.started(folder / "run", base, **WARDROBE, **environment(folder / "set", made)) as running:
        assert running.process.poll() is None, running.log.read_text()
        yield _served(running, recorded, made)


@pytest.fixture
def unpadded(
    base: Path, recorded: Path, made: WrittenSet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """The same adapters as they are, beside a zero adapter of another form. What one test kills is no other's."""
    folder = tmp_path_factory.mktemp("unpadded")
    alone = set_form([read_form(_folders(recorded)[0], SHAPE)], 1)
    only = WrittenSet(members=dict([next(iter(sorted(made.members.items())))]), form=alone)
    write_set(folder / "set", only, {name: _folders(recorded)[0] for name in only.members}, SHAPE)
    items = [f"{name}={path}" for name, path in zip(sorted(made.members), _folders(recorded), strict=True)]
    items.append(f"{ZERO_ADAPTER}={folder / 'set' / ZERO_ADAPTER}")
    with tgi.started(folder / "run", base, **WARDROBE, LORA_ADAPTERS=",".join(items)) as running:
        assert running.process.poll() is None, running.log.read_text()
        yield _served(running, recorded, made)


@pytest.fixture(scope="session")
def plain(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tgi]:
    """As somebody might start it: no adapters, no scores of prompts, two requests at a time."""
    with tgi.started(
        tmp_path_factory.mktemp("plain") / "run", base, MAX_CONCURRENT_REQUESTS="2", CUDA_GRAPHS="0"
    ) as running:
        assert running.process.poll() is None, running.log.read_text()
        yield running
