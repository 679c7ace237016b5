"""What base and adapters answer, each alone: `python -m support.say MODEL VARIANT QUESTION LENGTHS FOLDER…`.

Runs in the engine's environment and prints the greedy answers of the base and of each folder's adapter, in so many
tokens, as JSON.
"""

import asyncio
import json
import sys
from pathlib import Path

from wardrobe_contracts.base import Variant
from wardrobe_engine import chat
from wardrobe_engine.bodies import collect
from wardrobe_engine.engine import Engine
from wardrobe_engine.loading import load
from wardrobe_engine.model import Model
from wardrobe_engine.options import Options

BASE = "base"


async def say(
    model: Path, variant: Variant, question: str, lengths: list[int], folders: list[str]
) -> dict[str, dict[int, str]]:
    """Load one adapter after the other: no other is there that could answer."""
    base = load(model, variant)
    engine = Engine(base, Options.parse(["--model", str(model), "--served-name", BASE]), Model(base))
    said = {BASE: {tokens: await answer(engine, BASE, question, tokens) for tokens in lengths}}
    for folder in folders:
        await engine.load(Path(folder).name, Path(folder))
        (only,) = engine.adapters()
        said[folder] = {tokens: await answer(engine, only.name, question, tokens) for tokens in lengths}
        await engine.unload(only.name)
    engine.stop()
    return said


async def answer(engine: Engine, adapter: str, question: str, tokens: int) -> str:
    """To a chat of one message."""
    messages = [chat.Message(role="user", content=question)]
    body = chat.ChatRequest(model=adapter, messages=messages, max_tokens=tokens, temperature=0)
    return (await collect(engine.generate(await chat.prepare(engine, body)))).text


if __name__ == "__main__":
    _model, _variant, _question, _lengths, *_folders = sys.argv[1:]
    _said = asyncio.run(say(Path(_model), Variant(_variant), _question, json.loads(_lengths), _folders))
    print(json.dumps(_said))  # noqa: T201
