"""Command lines: every option is also an environment variable, `--engine-url` is WARDROBE_ENGINE_URL."""

import argparse
import os
from typing import Any


def add(parser: argparse.ArgumentParser, option: str, *, help: str, **settings: Any) -> None:  # noqa: A002  argparse's
    """Add an option whose default is its environment variable, where that is set."""
    variable = "WARDROBE_" + option.removeprefix("--").replace("-", "_").upper()
    if variable in os.environ:
        settings["default"] = os.environ[variable]  # argparse converts texts of the environment as it does arguments
    required = "default" not in settings
    shown = "" if required or settings["default"] == "" else ", default: %(default)s"
    parser.add_argument(option, required=required, help=f"{help} (${variable}{shown})", **settings)


def kubernetes_options(parser: argparse.ArgumentParser) -> None:
    """Which deployment this process belongs to."""
    add(parser, "--deployment", help="name of the AdapterDeployment")
    add(parser, "--namespace", help="its namespace")
    add(parser, "--routes", help="name of the ConfigMap with its routes")


def common_options(parser: argparse.ArgumentParser, *, port: int) -> None:
    """How a server of ours listens, answers and ends."""
    # no variable: a Service named `wardrobe` gives every pod beside it a WARDROBE_PORT that is a URL
    parser.add_argument("--port", type=int, default=port, help="port to listen on (default: %(default)s)")
    add(parser, "--answer-seconds", type=float, default=300.0, help="longest silence within an answer")
    add(parser, "--linger-seconds", type=float, default=5.0, help="requests are taken so long after SIGTERM")
    add(parser, "--drain-seconds", type=float, default=60.0, help="and those under way may take so long after that")
    add(parser, "--log-level", default="info", choices=["debug", "info", "warning", "error"], help="log level")
