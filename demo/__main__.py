"""`demo/run`, or `python -m demo`: tell the story on the development cluster, or on one that the caller names."""

import argparse
import sys
import time
from pathlib import Path

from devcluster.console import DevclusterError

from . import acts, asking, console, rollback, target
from .cluster import Cluster
from .console import DemoError
from .layout import command_lines, duration
from .story import DEPARTMENT, FIRST, SECOND_RUN


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    known = parser()
    options = known.parse_args(arguments)
    if options.values and not options.context:
        known.error("--values is for a cluster of your own: name its --context, too (make demo CONTEXT=… VALUES=…)")
    try:
        if options.exports:
            target.print_exports()
        else:
            tell(options.context, options.values)
    except (DemoError, DevclusterError) as error:
        sys.stdout.flush()
        sys.stderr.write(f"\ndemo: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ndemo: stopped. The cluster is as it is; the same command goes on from here\n")
        return 130
    return 0


def tell(context: str | None, values: Path | None) -> None:
    """The whole story. Raises DemoError."""
    cluster = target.another(context) if context else target.development()
    began = time.monotonic()
    console.say()
    console.tell(
        "Tantanila Hospital has one small language model. Every department teaches it its own voice, as an adapter "
        "of a few hundred kilobytes, and is answered by the adapter that the platform team names. What follows is "
        "real; lines with $ can be typed by you as well."
    )
    console.heading("1. A cluster" if cluster.reachable else f"1. The cluster of context {context}")
    if cluster.reachable:
        target.start_node(cluster)
    else:
        target.check_claims(cluster)
    console.heading("2. Wardrobe's operator, from its Helm chart")
    target.install(cluster, values)
    acts.tell(cluster)
    console.say()
    console.done(f"the story is told, in {duration(time.monotonic() - began)}")
    what_next(cluster)


def what_next(cluster: Cluster) -> None:
    """Commands to go on with."""
    seen = cluster.observe()
    second = seen.adapter_of(SECOND_RUN) or FIRST
    key = f"$({cluster.typed('get', 'secret', f'{DEPARTMENT}-keys', '-o', 'jsonpath={.data.keys}')} | base64 -d)"
    url = cluster.typed("get", "adp", "tantanila", "-o", "jsonpath={.status.url}")
    reach = (
        f'URL="$({url})"' if cluster.reachable else f"{cluster.typed('port-forward', 'service/tantanila', '8080:80')} &"
    )
    suggestions = {
        "This shell, and the cluster": target.exports(cluster) if cluster.reachable else [],
        "Ask": [reach, asking.curl(DEPARTMENT, key, "$URL" if cluster.reachable else "http://127.0.0.1:8080")],
        "Look": [
            cluster.typed("get", "wardrobe"),
            cluster.typed("describe", "adp", "tantanila"),
            cluster.typed("get", "adapter", FIRST, "-o", "yaml"),
            cluster.typed("get", "events"),
            cluster.typed("explain", "ftj.spec"),
        ],
        "Forward, and back": [cluster.typed(*rollback.patch(second)), cluster.typed(*rollback.patch(FIRST))],
        "Logs": [
            cluster.elsewhere("wardrobe").typed("logs", "deployment/wardrobe-operator"),
            cluster.typed("logs", "deployment/tantanila-engine", "-c", "agent"),
            cluster.typed("logs", "deployment/tantanila-router"),
        ],
        "Stop, and take everything away" if cluster.reachable else "Take it away": stop(cluster),
    }
    console.heading("What next")
    for title, lines in suggestions.items():
        if lines:
            console.say(f"   {title}:")
        for line in lines:
            for part in command_lines(line, 95):
                console.say(f"     {part}")


def stop(cluster: Cluster) -> list[str]:
    """How to end it."""
    if cluster.reachable:
        return ["make demo-down"]
    where = f"--kube-context {cluster.context} -n wardrobe"
    first = cluster.typed("delete", "adp", "--all")  # an Adapter in use cannot be deleted
    return [first, cluster.typed("delete", "ftj,adapters,bm", "--all"), f"helm uninstall wardrobe {where}"]


def parser() -> argparse.ArgumentParser:
    """All options."""
    options = argparse.ArgumentParser(prog="demo/run", description=__doc__)
    text = "another cluster: a context of KUBECONFIG. Without it the development cluster of this machine is used"
    options.add_argument("--context", metavar="NAME", help=text)
    text = "with --context: the chart's values, with the images' place in them; an operator that runs there gets them"
    options.add_argument("--values", metavar="FILE", type=_file, help=text)
    text = "print what a shell needs to talk to the development cluster, and nothing else"
    options.add_argument("--exports", action="store_true", help=text)
    return options


def _file(text: str) -> Path:
    """Absolute: it is passed on to programs in other folders."""
    path = Path(text).resolve()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {path}")
    return path


if __name__ == "__main__":
    sys.exit(main())
