"""What each adapter is known to answer: asked of an engine that has no other, before anything is served."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

from devcluster import environments
from wardrobe.api.meta import Manifest
from wardrobe_contracts.engines.tgi import ZERO_ADAPTER
from wardrobe_contracts.routes import engine_adapter_name
from wardrobe_gateway.agent.tgi.forms import read_form, set_form
from wardrobe_gateway.agent.tgi.padding import WrittenSet, environment, write_set

from . import lora_files, tgi
from .hospital import TANTANILA
from .traffic import LENGTHS, QUESTION, Known, question, words

MODEL = TANTANILA / "model"


def learn(store: Path, adapters: list[Manifest], quantization: str = "NF4") -> Known:
    """The answers to the traffic's question. Raises AssertionError where they do not tell adapters and base apart."""
    folders = {_engine_name(adapter): str(store / adapter["spec"]["artifact"]["path"]) for adapter in adapters}
    said = _ask(quantization, list(folders.values()))
    known = {(name, tokens): said[folder][str(tokens)] for name, folder in folders.items() for tokens in LENGTHS}
    _require_unlike(known, {tokens: said["base"][str(tokens)] for tokens in LENGTHS})
    return known


def learn_of_tgi(store: Path, adapters: list[Manifest]) -> Known:
    """The same of the TGI that `support.tgi` starts, as Wardrobe starts it, by one request at a time."""
    folders = {_engine_name(adapter): store / adapter["spec"]["artifact"]["path"] for adapter in adapters}
    shape = lora_files.base_shape(MODEL)
    form = set_form([read_form(folder, shape) for folder in folders.values()], 1)
    digests = {_engine_name(adapter): adapter["spec"]["digest"] for adapter in adapters}
    made = WrittenSet(members=digests, form=form)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        write_set(place / "set", made, folders, shape)
        base = tgi.readable_base(place / "base")
        with tgi.started(place / "run", base, **tgi.WARDROBE, **environment(place / "set", made)) as running:
            said = {
                (name, tokens): words(running.post("/v1/chat/completions", question(name, tokens)).text)
                for name in (*folders, ZERO_ADAPTER)
                for tokens in LENGTHS
            }
    known = {(name, tokens): text for (name, tokens), text in said.items() if name != ZERO_ADAPTER}
    _require_unlike(known, {tokens: said[ZERO_ADAPTER, tokens] for tokens in LENGTHS})
    return known


def _require_unlike(known: Known, base: dict[int, str]) -> None:
    for tokens in LENGTHS:
        texts = {"base": base[tokens], **{name: text for (name, length), text in known.items() if length == tokens}}
        assert len(set(texts.values())) == len(texts), f"adapters that answer alike: {texts}"


def _engine_name(adapter: Manifest) -> str:
    return engine_adapter_name(adapter["metadata"]["name"], adapter["spec"]["digest"])


def _ask(quantization: str, folders: list[str]) -> dict[str, dict[str, str]]:
    python = environments.MEMBERS["engine"].environment / "bin/python"
    arguments = ["-m", "support.say", str(MODEL), quantization, QUESTION, json.dumps(LENGTHS), *folders]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([str(python), *arguments], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said: dict[str, dict[str, str]] = json.loads(done.stdout)
    return said
