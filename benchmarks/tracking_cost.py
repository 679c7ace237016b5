"""What telling MLflow costs training: tokens a second with it and without, by turns in one run.

Attempts are those of a pod, LoRA on the example's base and data, on CPU: the process that tells the server has only
what training leaves of the same cores. The server, which a person has elsewhere, gives way to both here.

usage: tracking_cost.py [PAIRS]
"""

import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "trainer_image" / "src"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import mlflow_server
from support.mlflow_server import Mlflow
from support.telling import tracking
from support.tracked_run import SCHEDULE, TrackedRun

from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.training import TrainConfig, TrainingSummary

PAIRS = 6
ROWS = 300
LONG = SCHEDULE.model_copy(update={"epochs": 1, "batch_size": 16, "sequence_length": 256})
WANTED = 0.99
EXPERIMENT = "cost"


def main() -> None:
    """Print the ratio of each pair, and their median."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("mlflow", "run"):
            (place / name).mkdir()
        with mlflow_server.serving(place / "mlflow", nice=19) as mlflow:
            run = TrackedRun(place / "run", tracking(mlflow.uri, EXPERIMENT), ROWS, LONG)
            report = run.check()
            ratios = [ratio(run, report, mlflow, number) for number in range(pairs)]
    print(f"median of {pairs} pairs: {statistics.median(ratios):.3f} (wanted: {WANTED})")


def ratio(run: TrackedRun, report: CheckReport, mlflow: Mlflow, number: int) -> float:
    """Of one pair; which of both comes first changes from pair to pair."""
    orders = {told: run.training(report, 2 * number + told) for told in (False, True)}
    orders[False] = orders[False].model_copy(update={"tracking": None})
    found = {told: speed(run, orders[told]) for told in (number % 2 == 0, number % 2 == 1)}
    points = len(mlflow.curve(mlflow.run(EXPERIMENT)["info"]["run_id"]))
    share = found[True] / found[False]
    print(f"{found[True]:.1f} tokens/s with, {found[False]:.1f} without: {share:.3f}; {points} points told", flush=True)
    return share


def speed(run: TrackedRun, order: TrainConfig) -> float:
    """Non-pad tokens a second."""
    summary = run.do("train", order, within=3600).payload
    assert isinstance(summary, TrainingSummary)
    return summary.tokens / summary.seconds


if __name__ == "__main__":
    main()
