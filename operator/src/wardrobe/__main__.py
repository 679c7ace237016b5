"""`wardrobe-operator`: run the operator in a cluster, or beside one that KUBECONFIG names."""

import argparse
import asyncio
import logging
import os

from wardrobe.runtime import Process, run
from wardrobe.settings import Settings


def main() -> None:
    """Parse the command line and run until SIGTERM."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    settings = Settings(
        trainer_image=arguments.trainer_image,
        gateway_image=arguments.gateway_image,
        engine_image=arguments.engine_image,
        user_id=arguments.user_id,
    )
    namespaces = tuple(name for name in arguments.namespaces.split(",") if name)
    asyncio.run(run(settings, Process(namespaces=namespaces, port=arguments.port)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wardrobe-operator", description=__doc__)
    _image(parser, "trainer", "all training tasks")
    _image(parser, "gateway", "agents and routers")
    _image(parser, "engine", "the Transformers engine")
    parser.add_argument(
        "--namespaces",
        default=os.environ.get("WARDROBE_NAMESPACES", ""),
        help="comma-separated namespaces to watch; all by default ($WARDROBE_NAMESPACES)",
    )
    parser.add_argument("--user-id", type=int, default=10001, help="uid and fsGroup of pods (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port of /metrics and /healthz (default: %(default)s)")
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser


def _image(parser: argparse.ArgumentParser, member: str, purpose: str) -> None:
    variable = f"WARDROBE_{member.upper()}_IMAGE"
    value = os.environ.get(variable)
    parser.add_argument(
        f"--{member}-image", default=value, required=value is None, help=f"image of {purpose} (${variable})"
    )


if __name__ == "__main__":
    main()
