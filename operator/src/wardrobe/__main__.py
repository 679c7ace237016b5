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
    settings = Settings(trainer_image=arguments.trainer_image, user_id=arguments.user_id)
    namespaces = tuple(name for name in arguments.namespaces.split(",") if name)
    asyncio.run(run(settings, Process(namespaces=namespaces, port=arguments.port)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wardrobe-operator", description=__doc__)
    image = os.environ.get("WARDROBE_TRAINER_IMAGE")
    parser.add_argument(
        "--trainer-image",
        default=image,
        required=image is None,
        help="image of all training tasks ($WARDROBE_TRAINER_IMAGE)",
    )
    parser.add_argument(
        "--namespaces",
        default=os.environ.get("WARDROBE_NAMESPACES", ""),
        help="comma-separated namespaces to watch; all by default ($WARDROBE_NAMESPACES)",
    )
    parser.add_argument("--user-id", type=int, default=10001, help="uid and fsGroup of pods (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port of /metrics and /healthz (default: %(default)s)")
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser


if __name__ == "__main__":
    main()
