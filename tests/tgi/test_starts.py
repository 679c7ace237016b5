"""Starts that fail, as they fail; and what starts although it should not, which is why `agent.tgi.forms` looks."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import lora_files, tgi
from support.lora_files import ATTENTION
from support.tgi import WARDROBE

pytestmark = pytest.mark.tgi

SHAPE = lora_files.base_shape(tgi.TANTANILA)


def good(folder: Path) -> Path:
    return lora_files.write(folder, lora_files.matrices(SHAPE, 8, ATTENTION), 8)


def without(name: str) -> Callable[[Path], str]:
    def made(folder: Path) -> str:
        (good(folder / "a") / name).unlink()
        return f"a={folder / 'a'}"

    return made


def cut_off(folder: Path) -> str:
    path = good(folder / "a") / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    return f"a={folder / 'a'}"


@pytest.mark.parametrize(
    ("adapters", "words"),
    [
        (lambda _: "", "No local weights found in  with extension .bin"),
        (lambda folder: f"a={good(folder / 'a')},", "No local weights found in  with extension .bin"),
        (lambda folder: f"a=b={good(folder / 'a')}", "Invalid LoRA adapter format"),
        (lambda folder: f"{good(folder / 'a')}", "HFValidationError"),
        (lambda folder: f"a={folder / 'missing'}", "Can't find 'adapter_config.json'"),
        (without("adapter_config.json"), "Can't find 'adapter_config.json'"),
        (without("adapter_model.safetensors"), "No adapter weights found for adapter 'a'"),
        (cut_off, "SafetensorError"),
    ],
)
def test_a_list_of_adapters_with_which_it_ends(
    base: Path, tmp_path: Path, adapters: Callable[[Path], str], words: str
) -> None:
    with tgi.started(tmp_path / "run", base, **WARDROBE, LORA_ADAPTERS=adapters(tmp_path)) as running:
        assert running.process.wait() == 1
        assert words in running.log.read_text()


def test_a_base_saved_by_transformers_5_does_not_start(tmp_path: Path) -> None:
    with tgi.started(tmp_path / "run", tgi.TANTANILA, **WARDROBE) as running:
        assert running.process.wait() == 1
        assert "Tokenizer class TokenizersBackend does not exist" in running.log.read_text()


def test_a_template_in_a_file_of_its_own_is_not_read(tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tgi.readable_base(tmp_path / "linked"), base)
    config = (base / "tokenizer_config.json").read_text().replace('"chat_template"', '"not_chat_template"')
    (base / "tokenizer_config.json").write_text(config)
    chat = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    with tgi.started(tmp_path / "run", base, **WARDROBE) as running:
        answer = running.post("/v1/chat/completions", chat)
        assert answer.status_code == 422
        assert answer.json()["error_type"] == "template_error"
        assert running.generate("Hello", max_new_tokens=1).status_code == 200


def test_a_switch_wants_words(base: Path, tmp_path: Path) -> None:
    with tgi.started(tmp_path / "run", base, ENABLE_PREFILL_LOGPROBS="1") as running:
        assert running.process.wait() == 2
        assert "[possible values: true, false]" in running.log.read_text()


def test_adapters_that_it_serves_as_something_else(base: Path, tmp_path: Path) -> None:
    """All of these are refused by `agent.tgi.forms` before it comes to that."""
    whole = lora_files.matrices(SHAPE, 8, ATTENTION, seed=1)
    strong = {name: tensor * np.float32(4) for name, tensor in whole.items()}
    half = {name: tensor for name, tensor in strong.items() if ".layers.0." not in name}
    elsewhere = {name.replace("model.layers", "transformer.h"): tensor for name, tensor in strong.items()}
    nothing = {name: tensor * np.float32("nan") for name, tensor in whole.items()}
    found = {
        "whole": lora_files.write(tmp_path / "whole", strong, 8),
        "half": lora_files.write(tmp_path / "half", half, 8),
        "elsewhere": lora_files.write(tmp_path / "elsewhere", elsewhere, 8, target_modules=["q_proj"]),
        "nothing": lora_files.write(tmp_path / "nothing", nothing, 8),
    }
    adapters = ",".join(f"{name}={path}" for name, path in found.items())
    prompt = "<|user|>\nWhat is a stroke?<|end|>\n<|assistant|>\n"
    with tgi.started(tmp_path / "run", base, **WARDROBE, LORA_ADAPTERS=adapters) as running:
        answers = {
            name: running.generate(prompt, adapter_id=name, max_new_tokens=16, details=True).json()
            for name in (*found, "nobody")
        }
    texts = {name: answer["generated_text"] for name, answer in answers.items()}
    assert texts["half"] == texts["elsewhere"] == texts["nobody"] != texts["whole"]
    assert texts["nothing"] == ""
    assert {token["logprob"] for token in answers["nothing"]["details"]["tokens"]} == {None}


def test_of_two_adapters_of_a_name_the_last_is_served(base: Path, tmp_path: Path) -> None:
    folders = [
        lora_files.write(
            tmp_path / str(seed),
            {
                name: tensor * np.float32(4)
                for name, tensor in lora_files.matrices(SHAPE, 8, ATTENTION, seed=seed).items()
            },
            8,
        )
        for seed in (1, 2)
    ]
    items = f"a={folders[0]}, a={folders[1]} ,b={folders[1]}"
    prompt = "<|user|>\nWhat is a stroke?<|end|>\n<|assistant|>\n"
    with tgi.started(tmp_path / "run", base, **WARDROBE, LORA_ADAPTERS=items) as running:
        texts = [running.generate(prompt, adapter_id=name, max_new_tokens=16).json()["generated_text"] for name in "ab"]
        nobody = running.generate(prompt, max_new_tokens=16).json()["generated_text"]
    assert texts[0] == texts[1] != nobody
