"""An engine pod and a router on this machine: engine, agent and router, each a process of its own."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
from support import gateway
from support.artifacts import BASE
from support.gateway_alone import agent_program, router_program
from support.gateway_processes import Program
from support.lora_files import base_shape
from support.real_engines import MODEL
from support.traffic import question, words
from support.waiting import eventually

from wardrobe_contracts.routes import RoutedAdapter, RoutedBase
from wardrobe_contracts.state import ADAPTER_HEADER, STATE_PATH, AdapterState, AgentState, Verdict

from .subjects import VARIANT, Subject

ANSWER_SECONDS = 120.0
FIRST_SECONDS = 900.0
"""For a first answer: what an agent leaves an engine to start in."""
PATIENCE = 600.0
"""Without a further verdict."""
SHAPE = base_shape(MODEL)


class NotAppliedError(Exception):
    """An adapter that is what it should be was not found so."""


@dataclass(frozen=True)
class Said:
    """One answer."""

    status: int
    engine_name: str
    text: str
    seconds: float


@dataclass
class Ward:
    """What runs. The session is of one client."""

    subject: Subject
    engine_url: str
    start_seconds: float
    """What the engine's process took to listen; nothing where it waits for an order."""
    agent: Program
    router: Program
    session: requests.Session
    generation: int = 0

    def route(self, members: Sequence[RoutedAdapter], live: Mapping[str, str]) -> float:
        """Tell agent and router new routes, department to engine name; the moment before."""
        self.generation += 1
        base = RoutedBase(name="base", digest=BASE, shape=SHAPE)
        made = gateway.routes(list(members), live, generation=self.generation).model_copy(update={"base": base})
        began = time.monotonic()
        for program in (self.agent, self.router):
            program.tell(made)
        return began

    def ask(self, department: str, model: str, tokens: int) -> Said:
        """The likeliest words, through the router."""
        began = time.monotonic()
        with self.session.post(
            f"{self.router.url}/v1/chat/completions",
            json=question(model, tokens),
            headers={"Authorization": f"Bearer {key_of(department)}"},
            timeout=ANSWER_SECONDS,
        ) as answer:
            text = words(answer.text) if answer.status_code == 200 else answer.text
            name = answer.headers.get(ADAPTER_HEADER, "")
            return Said(answer.status_code, name, text, time.monotonic() - began)

    def state(self) -> AgentState:
        """The agent's, which a busy machine may keep waiting."""
        said = eventually(lambda: self.agent.get(STATE_PATH)[1], within=ANSWER_SECONDS, what=self.agent.logged)
        return AgentState.model_validate_json(said)

    def await_verdicts(self, expected: Mapping[str, Verdict], tell: Callable[[int], None] = lambda _: None) -> None:
        """Wait until each of these adapters has its verdict, told how many have. Raises NotAppliedError for another."""
        done, since = 0, time.monotonic()
        while done < len(expected):
            adapters = self.state().adapters
            found = {name: adapters[name] for name in expected if name in adapters and _judged(adapters[name])}
            if wrong := {name: one for name, one in found.items() if one.verdict is not expected[name]}:
                raise NotAppliedError(f"{self.subject.label}: {_shown(wrong)}")
            if len(found) > done:
                done, since = len(found), time.monotonic()
                tell(done)
            if time.monotonic() - since > PATIENCE:
                waiting = {name: adapters[name] for name in expected.keys() - found.keys() if name in adapters}
                raise NotAppliedError(f"{self.subject.label}: none more in {PATIENCE:g} s: {_shown(waiting)}")
            time.sleep(0.1)


def _judged(adapter: AdapterState) -> bool:
    return adapter.verdict is not Verdict.PENDING


def _shown(adapters: Mapping[str, AdapterState]) -> str:
    return "; ".join(f"{name} {one.verdict} {one.reason} {one.message}" for name, one in sorted(adapters.items()))


def key_of(department: str) -> str:
    """Its bearer token."""
    return f"key-of-{department}-for-a-while"


@contextlib.contextmanager
def running(subject: Subject, folder: Path, store: Path, departments: Sequence[str]) -> Iterator[Ward]:
    """All of it without routes, in a new folder. What they said last is shown where the block fails."""
    folder.mkdir()
    control = folder / "control"
    control.mkdir()
    for department in departments:
        (folder / "keys" / department).mkdir(parents=True)
        (folder / "keys" / department / "keys").write_text(key_of(department))
    with contextlib.ExitStack() as stack:
        stack.enter_context(_logs_of_a_failure(folder))
        began = time.monotonic()
        url = stack.enter_context(subject.begun(folder, control))
        start_seconds = 0.0 if subject.starts_with_adapters else time.monotonic() - began
        agent = agent_program(
            folder,
            *("--store", str(store), "--control", str(control), "--engine-url", url),
            *("--engine", subject.type.value, "--quantization", VARIANT.value),
        )
        router = router_program(folder, agent)
        for program in (agent, router):
            stack.callback(program.kill)
            program.start()
            eventually(lambda: not program.refuses_requests(), every=0.02, what=program.logged)  # noqa: B023  at once
        session = stack.enter_context(requests.Session())
        yield Ward(subject, url, start_seconds, agent, router, session)


@contextlib.contextmanager
def _logs_of_a_failure(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception:
        for log in sorted(folder.glob("*.log")):
            last = log.read_text(errors="replace").splitlines()[-20:]
            print(f"--- the last of {log.name}", *last, sep="\n", flush=True)
        raise
