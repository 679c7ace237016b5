"""What each adapter is known to answer: asked of an engine that has no other, before anything is served."""

import json
import os
import subprocess
from pathlib import Path

from devcluster import environments
from wardrobe.api.meta import Manifest
from wardrobe_contracts.routes import engine_adapter_name

from .hospital import TANTANILA
from .traffic import LENGTHS, QUESTION, Known


def learn(store: Path, adapters: list[Manifest]) -> Known:
    """The answers to the traffic's question. Raises AssertionError where they do not tell adapters and base apart."""
    folders = {_engine_name(adapter): str(store / adapter["spec"]["artifact"]["path"]) for adapter in adapters}
    said = _ask(list(folders.values()))
    known = {(name, tokens): said[folder][str(tokens)] for name, folder in folders.items() for tokens in LENGTHS}
    for tokens in LENGTHS:
        texts = {"base": said["base"][str(tokens)], **{name: known[name, tokens] for name in folders}}
        assert len(set(texts.values())) == len(texts), f"adapters that answer alike: {texts}"
    return known


def _engine_name(adapter: Manifest) -> str:
    return engine_adapter_name(adapter["metadata"]["name"], adapter["spec"]["digest"])


def _ask(folders: list[str]) -> dict[str, dict[str, str]]:
    python = environments.MEMBERS["engine"].environment / "bin/python"
    arguments = ["-m", "support.say", str(TANTANILA / "model"), QUESTION, json.dumps(LENGTHS), *folders]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([str(python), *arguments], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said: dict[str, dict[str, str]] = json.loads(done.stdout)
    return said
