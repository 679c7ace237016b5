"""`wardrobe-agent`: the only listener of an engine pod."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, field_validator
from pydantic_settings import SettingsConfigDict

from wardrobe_contracts import paths
from wardrobe_contracts.base import Variant
from wardrobe_contracts.routes import AGENT_PORT, ENGINE_PORT

from ..engines.dialects import DIALECTS
from ..forwarding import session
from ..process.command import ServerOptions, start
from ..process.drain import Drain
from ..process.program import serve
from ..process.source import Source
from .reconciler import Reconciler
from .server import Agent
from .settings import Settings


class Options(ServerOptions):
    """The only listener of an engine pod. --engine-url is also WARDROBE_ENGINE_URL, and so on, but ports."""

    model_config = SettingsConfigDict(cli_prog_name="wardrobe-agent")

    store: Path = Field(Path(paths.STORE), description="the store, read-only")
    cache: Path = Field(Path(paths.CACHE), description="own folder, where the engine reads too")
    engine: str = Field("Transformers", description=f"the engine's dialect: {', '.join(sorted(DIALECTS))}")
    quantization: Literal[Variant.NONE, Variant.INT8, Variant.NF4, Variant.FP4] = Field(
        description="variant of the base that the engine serves"
    )
    engine_url: str = Field(f"http://127.0.0.1:{ENGINE_PORT}", description="where the engine listens")
    reprove_seconds: PositiveFloat = Field(300.0, description="seconds until what is served is proved again")
    port: int = Field(AGENT_PORT, ge=0, le=65535, description="port of requests")

    @field_validator("engine")
    @classmethod
    def _has_a_dialect(cls, engine: str) -> str:
        if engine not in DIALECTS:
            raise ValueError(f"it must be one of {', '.join(sorted(DIALECTS))}")
        return engine


def main() -> None:
    """Parse the command line and run until SIGTERM."""
    start(Options, run)


async def run(options: Options, source: Source) -> None:
    """Run on any source of routes until SIGTERM."""
    options.cache.mkdir(parents=True, exist_ok=True)
    settings = Settings(options.deployment, options.store, options.cache, options.quantization, options.reprove_seconds)
    async with session(options.answer_seconds) as connection:
        reconciler = Reconciler(DIALECTS[options.engine](connection, options.engine_url), settings)
        agent = Agent(reconciler, connection, options.engine_url, Drain())
        agent.in_force.restore()
        await serve(agent, options, source, [reconciler.watch_engine(), reconciler.work()])


if __name__ == "__main__":
    main()
