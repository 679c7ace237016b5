"""Figures of the engines behind the same proof: the embedded one, vLLM on the CPU, and TGI.

TGI is the stand-in of tests/tgi_stand_in, or the real one where WARDROBE_TGI names its folder, as for `make test-tgi`;
each line says which. Engine, agent and router are processes of this machine, without a cluster. Exits with 1 where an
adapter that should be is not Applied, a wrong one passes, or a request is answered wrongly.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support import real_engines

from wardrobe_contracts.engines import EngineType

from . import answers, departments, proofs, tokens, ward
from .answers import Made
from .subjects import VARIANT, Subject

GPU = Path("/dev/nvidia0")
ORDER = (EngineType.TRANSFORMERS, EngineType.VLLM, EngineType.TGI)


def main() -> None:
    """Measure and print."""
    asked = _parsed()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that blocks end, and with them what they started
    print(
        f"{os.cpu_count()} cores, base {real_engines.MODEL.parent.name} on {VARIANT}; progress goes to stderr",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="bench-engines-") as name:
        folder = Path(name)
        print("recording adapters and probes with the trainer", file=sys.stderr, flush=True)
        store, made = real_engines.record(folder, VARIANT)
        problems = list(_measure(asked, folder, store, made))
    print(_gpu(), flush=True)
    if problems:
        raise SystemExit("NOT AS IT SHOULD BE:\n" + "\n".join(problems))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engines", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", nargs="+", type=EngineType, choices=ORDER, default=ORDER, help="only these")
    parser.add_argument("--flips", type=_count, default=20, help="by engine (20)")
    parser.add_argument("--proofs", type=_count, default=1000, help="under load, of each engine (1000)")
    parser.add_argument("--proof-minutes", type=_count, default=10, help="for them at most, of each engine (10)")
    parser.add_argument("--departments", type=_count, default=64, help="with an adapter each (64)")
    parser.add_argument("--rounds", type=_count, default=5, help="of tokens/s (5)")
    asked = parser.parse_args()
    if asked.proofs < proofs.TEN:
        parser.error(f"--proofs {asked.proofs}: {proofs.TEN} are the fewest in which every fault comes once")
    return asked


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _measure(asked: argparse.Namespace, folder: Path, store: Path, made: Made) -> Iterator[str]:
    """Every part for each engine; what is not as it should be."""
    subjects = [Subject(engine) for engine in ORDER if engine in asked.engines]
    wrong = proofs.wrong_adapters(store, made)
    many = departments.adapters(store, made, asked.departments)
    for subject in subjects:
        place = folder / subject.type.value
        place.mkdir()
        with ward.running(subject, place / "answers", store, answers.DEPARTMENTS) as running:
            answers.tell_first_answer(running, made)
            known = answers.known_texts(running, made)
            answers.tell_flips(running, made, asked.flips, known)
        with ward.running(subject, place / "proofs", store, answers.DEPARTMENTS) as running:
            proofs.prepare(running, made, wrong)
            ten = proofs.cases(made, wrong)
            wanted = proofs.Wanted(asked.proofs, asked.proof_minutes * 60.0)
            yield from proofs.tell_proofs(running, store, ten, wanted, known)
        with ward.running(subject, place / "departments", store, departments.names(asked.departments)) as running:
            departments.tell_departments(running, many)
    _tell_tokens(subjects, folder, asked.rounds)


def _tell_tokens(subjects: Sequence[Subject], folder: Path, rounds: int) -> None:
    """One engine after the other, and all of them to the first."""
    measured = {subject: tokens.measure(subject, folder / f"{subject.type}-tokens", rounds) for subject in subjects}
    for subject, rates in measured.items():
        tokens.tell_rates(subject, rates)
    first, *others = measured
    for other in others:
        tokens.tell_beside(other, measured[other], first, measured[first])


def _gpu() -> str:
    seen = f"{GPU} is there, but this command uses no GPU" if GPU.exists() else "no GPU here"
    how = "benchmarks/proof_tolerance.py --url … measures them before an engine on one"
    return f"{seen}: tolerances of bfloat16 and NF4 on a GPU are not measured ({how})"


if __name__ == "__main__":
    main()
