"""Pre-train the example's base model on CPU: `pretrain.py --minutes 47 OUTPUT`, in the trainer's environment.

Writes what `model/` holds: a byte-level BPE tokenizer with a chat template, and a Llama of 5.8 million parameters. The
time decides how many steps it takes, so a slower machine gives a weaker model and never the same bytes.
"""

import argparse
import gzip
import math
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CORPUS = Path(__file__).parent / "data" / "corpus.txt.gz"
SPECIAL = ["<|bos|>", "<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>"]
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
VOCABULARY, CONTEXT = 4096, 1024
WINDOW, ROWS = 256, 16
PEAK_RATE, WARMUP_STEPS, LAST_SHARE = 2e-3, 100, 0.1


def make_tokenizer(lines: list[str]) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE vocabulary from the corpus."""
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learnt.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, special_tokens=SPECIAL)
    learnt.train_from_iterator(lines, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        tokenizer_object=learnt,
        bos_token="<|bos|>",  # noqa: S106
        eos_token="<|end|>",  # noqa: S106
        pad_token="<|pad|>",  # noqa: S106
        chat_template=TEMPLATE,
        model_max_length=CONTEXT,
    )


def as_conversation(line: str) -> str:
    """A line of the corpus as the template would write it: the question, if it begins with one, and its answer."""
    question, mark, answer = line.partition("? ")
    return f"<|user|>\n{question}?<|end|>\n<|assistant|>\n{answer}<|end|>\n" if mark else f"{line}<|end|>\n"


def make_model() -> LlamaForCausalLM:
    """The architecture, at random."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=6,
            num_attention_heads=8,
            num_key_value_heads=4,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=2,
        )
    )


def learning_rate(step: int, share: float) -> float:
    """Linear warm-up, then a cosine over the share of the time that has passed, down to LAST_SHARE of the peak."""
    cosine = LAST_SHARE + (1 - LAST_SHARE) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return PEAK_RATE * min(1.0, (step + 1) / WARMUP_STEPS) * cosine


def sample(tokens: torch.Tensor) -> torch.Tensor:
    """A batch of windows (ROWS, WINDOW) from anywhere in the corpus."""
    starts = torch.randint(len(tokens) - WINDOW, (ROWS,))
    return torch.stack([tokens[start : start + WINDOW] for start in starts.tolist()])


def pretrain(model: LlamaForCausalLM, tokens: torch.Tensor, seconds: float) -> int:
    """Train for so many seconds; returns the steps made."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.95), weight_decay=0.1)
    begun, step = time.monotonic(), 0
    while (share := (time.monotonic() - begun) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, share)
        batch = sample(tokens)
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 50 == 0:
            print(f"{share:.0%} step {step} loss {loss.item():.3f}", flush=True)  # noqa: T201
    return step


@torch.no_grad()
def validation_loss(model: LlamaForCausalLM, tokens: torch.Tensor) -> float:
    """Mean loss per token over 20 batches of text that was not trained on."""
    batches = [sample(tokens) for _ in range(20)]
    return sum(float(model(input_ids=batch, labels=batch).loss) for batch in batches) / len(batches)


def main() -> None:
    """Read the corpus, train tokenizer and model, save both in safetensors and bfloat16."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=47)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    lines = gzip.decompress(CORPUS.read_bytes()).decode().splitlines()
    tokenizer = make_tokenizer(lines)
    tokenizer.save_pretrained(arguments.output)
    tokens = torch.tensor([token for line in lines for token in tokenizer(as_conversation(line))["input_ids"]])
    held_out = len(tokens) // 50
    model = make_model()
    steps = pretrain(model, tokens[:-held_out], 60 * arguments.minutes)
    model.train(mode=False)
    loss = validation_loss(model, tokens[-held_out:])
    print(f"{steps} steps, {steps * ROWS * WINDOW:,} tokens, validation loss {loss:.4f}")  # noqa: T201
    model.bfloat16().save_pretrained(arguments.output)


if __name__ == "__main__":
    main()
