"""Scores taken block by block are those of the whole logits, for every way in which models end."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Cohere2Config,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    MixtralConfig,
    PreTrainedConfig,
    Qwen3Config,
)

from wardrobe_trainer.scoring import BLOCK, Passage, decoder_of, log_probabilities

SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
}
MODELS: dict[str, Callable[[], PreTrainedConfig]] = {
    "plain": lambda: LlamaConfig(**SMALL),
    "normed heads": lambda: Qwen3Config(**SMALL),
    "capped": lambda: Gemma2Config(**SMALL, final_logit_softcapping=0.5),
    "scaled": lambda: Cohere2Config(**SMALL, logit_scale=0.25),
    "divided": lambda: GraniteConfig(**SMALL, logits_scaling=4.0),
    "experts": lambda: MixtralConfig(**SMALL, num_local_experts=4, output_router_logits=True),
    "old names": lambda: GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    """With random weights. Any, as transformers leaves much of a model untyped."""
    torch.manual_seed(0)
    made: Any = AutoModelForCausalLM.from_config(MODELS[request.param]())  # type: ignore[no-untyped-call]
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def test_blocks_score_as_whole_logits_do(model: Any) -> None:
    torch.manual_seed(1)
    lengths = [5, BLOCK + 70, 2 * BLOCK + 3]
    passages = [Passage(torch.randint(1, 64, (length,)).tolist(), list(range(2, length))) for length in lengths]
    for passage, found in zip(passages, log_probabilities(model, passages), strict=True):
        with torch.no_grad():
            whole = model(input_ids=torch.tensor([passage.ids])).logits[0].log_softmax(-1)
        wanted = [float(whole[at - 1, passage.ids[at]]) for at in passage.positions]
        torch.testing.assert_close(found.float(), torch.tensor(wanted), atol=1e-4, rtol=0)


def test_no_pass_has_logits_of_more_than_a_block(model: Any) -> None:
    most = []
    head = model.get_output_embeddings()
    assert head is not None
    head.register_forward_hook(lambda _, inputs, output: most.append(output.shape[:-1].numel()))
    log_probabilities(model, [Passage([1] * 400, list(range(1, 400)))])
    assert sum(most) == 399
    assert max(most) == BLOCK


def test_the_model_is_left_as_it_was(model: Any) -> None:
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        log_probabilities(model, [Passage([1, 2, 3], [1, 2])])
        torch.testing.assert_close(model(input_ids=ids).logits, before, atol=0, rtol=0)
    assert "forward" not in vars(decoder_of(model))


def test_a_passage_of_which_nothing_is_scored(model: Any) -> None:
    assert [found.numel() for found in log_probabilities(model, [Passage([1, 2], [])])] == [0]
