"""The command line: `devcluster up`, `down`, `status` and the rest. Each command is one short function."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from devcluster import build, controlplane, environments, node, report, volumes
from devcluster.console import DevclusterError, answer, say

NOT_UP = 3

Options = argparse.Namespace
Command = Callable[[Options], int]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = parser().parse_args(arguments)
    command: Command = options.run
    try:
        return command(options)
    except DevclusterError as error:
        say(f"devcluster: {error}")
        return error.status
    except KeyboardInterrupt:
        return 130


def up(options: Options) -> int:
    """Start the node."""
    if not node.up(gpus=options.gpus):
        kubeconfig = node.instance().kubeconfig
        say(f"the node is up already, its environments are in sync; export KUBECONFIG={kubeconfig}")
    return 0


def down(options: Options) -> int:
    """Stop the node."""
    say("the node is down" if node.down(force=options.force) else "the node was not up")
    return 0


def status(_: Options) -> int:
    """Show daemons and readiness."""
    text, well = report.status(node.instance())
    answer(text)
    return 0 if well else NOT_UP


def logs(options: Options) -> int:
    """Show logs."""
    report.show_logs(node.instance(), options.daemon, follow=options.follow)
    return 0


def kubeconfig(_: Options) -> int:
    """Print the path."""
    file = node.instance().kubeconfig
    if not file.is_file():
        raise DevclusterError("the node is not up: devcluster up", status=NOT_UP)
    answer(str(file))
    return 0


def build_all(_: Options) -> int:
    """Build every program."""
    for module in build.MODULES:
        answer(str(build.ensure(module)))
    return 0


def sync(options: Options) -> int:
    """Renew environments."""
    for member in environments.sync(options.member):
        answer(f"{member.environment}  {member.image}")
    return 0


def volume(options: Options) -> int:
    """Make a volume and its claim."""
    answer(str(volumes.create(options.namespace, options.claim, source=options.source, size=options.size)))
    return 0


def controlplane_up(options: Options) -> int:
    """Start a control plane that outlives this command."""
    plane = controlplane.start(
        options.name,
        controller_manager=options.controller_manager,
        scheduler=options.scheduler,
        detached=True,
    )
    answer(str(plane.kubeconfig))
    return 0


def controlplane_down(options: Options) -> int:
    """End a control plane."""
    say("gone" if controlplane.stop(options.name) else f"there was no control plane {options.name}")
    return 0


def parser() -> argparse.ArgumentParser:
    """All commands and options."""
    top = argparse.ArgumentParser(prog="devcluster", description="A real one-node Kubernetes, without Docker.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    _node_options(add)
    _other_options(add)
    _controlplane_options(commands.add_parser("controlplane", help="control planes for tests: no node, no root"))
    return top


Adder = Callable[[str, Command, str], argparse.ArgumentParser]


def _node_options(add: Adder) -> None:
    start = add("up", up, "Start the node (root). Builds, installs and syncs what is missing. Harmless when up.")
    text = f"GPUs the scheduler counts (default {node.DEFAULT_GPUS}, or as they are when the node is up)"
    start.add_argument("--gpus", type=int, metavar="N", help=text)
    stop = add("down", down, "Stop the node and remove all it made: processes, mounts, links, volumes, state.")
    stop.add_argument("--force", action="store_true", help="also when another checkout started it")
    add("status", status, f"Show daemons, readiness and paths. Exit code 0: up and Ready, {NOT_UP}: not.")
    show = add("logs", logs, "Show the end of all logs, or all of one daemon's.")
    show.add_argument("daemon", nargs="?", choices=node.DAEMONS, metavar="DAEMON", help=", ".join(node.DAEMONS))
    show.add_argument("-f", "--follow", action="store_true", help="go on as lines arrive")
    add("kubeconfig", kubeconfig, "Print the path of the node's kubeconfig (context wardrobe-dev).")


def _other_options(add: Adder) -> None:
    add("build", build_all, "Build Kubernetes, etcd, CoreDNS and Helm into the cache (about 10 min the first time).")
    renew = add("sync", sync, "Renew the environments that pods run, under /opt/wardrobe. `up` does it first.")
    names = ", ".join(environments.MEMBERS)
    renew.add_argument("member", nargs="*", metavar="MEMBER", help=f"{names} (default: all)")
    make = add("volume", volume, "Make a folder, a local volume on it and the claim; prints the folder.")
    make.add_argument("namespace", metavar="NAMESPACE", help="made when it does not exist")
    make.add_argument("claim", metavar="CLAIM", help="wardrobe-store, models, datasets, …")
    text = "copy these files in before the volume exists; refused when it exists with other content"
    make.add_argument("--from", dest="source", type=Path, metavar="FOLDER", help=text)
    make.add_argument("--size", default=volumes.DEFAULT_SIZE, help="what claim and volume say (default %(default)s)")


def _controlplane_options(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(required=True, metavar="ACTION")
    start = actions.add_parser("up", help="start one and print its kubeconfig")
    start.set_defaults(run=controlplane_up)
    start.add_argument("name", metavar="NAME")
    start.add_argument("--controller-manager", action="store_true", help="with the controller-manager")
    start.add_argument("--scheduler", action="store_true", help="with the scheduler")
    stop = actions.add_parser("down", help="end one and remove its data")
    stop.set_defaults(run=controlplane_down)
    stop.add_argument("name", metavar="NAME")


if __name__ == "__main__":
    sys.exit(main())
