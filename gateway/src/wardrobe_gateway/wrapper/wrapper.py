"""PID 1 of an engine's container: runs the engine's command, again with whatever the agent orders, and says what runs.

usage: python3 wrapper.py --control FOLDER [--when-ordered] [--base-links FROM TO] [--chat-template FROM TO]
       [--chat-prelude TEXT] [--stop-seconds N] -- COMMAND…

It stands in the image of another project, so it is one file of the standard library alone, for Python 3.9 and newer.
What it reads and writes in FOLDER is described in `wardrobe_contracts/engine_process.py`.

Without --when-ordered the command runs at once, and its end is the container's. With it the command runs once an order
is there, with the order's environment. Of an engine all processes end, whatever groups and sessions they have made:
TGI's shards would hold the GPU (launcher/src/main.rs:1157).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any, NoReturn

ORDER_FILE = "order.json"
STATE_FILE = "process.json"
HUNG_FILE = "hung.json"
FORMAT = 1

POLL_SECONDS = 0.2
"""How often the order is looked at. A signal, or the end of a process, is noticed at once."""
STOP_SECONDS = 90.0
"""What an engine may take to end when another is ordered. Whoever orders has drained it before."""
OUTPUT_SECONDS = 2.0
"""What its last output may take once all its processes have ended."""
LINES = 20
LINES_BYTES = 2048
"""Kept of what an engine wrote last."""
HUNG = "hung, and was killed"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
SET_CHILD_SUBREAPER = 36
"""Of prctl(2): what loses its parent becomes our child, as it does where this is PID 1."""


def main() -> int:
    """Run until the engine, or who runs this, wants an end; returns the exit code."""
    own, command = _split(sys.argv[1:])
    options = _parser().parse_args(own)
    signals = Signals()
    if os.getpid() != 1 and ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        _end("prctl PR_SET_CHILD_SUBREAPER failed: processes of the engine would outlive it; run this as PID 1")
    wrapper = Wrapper(options.control, command, signals, options.stop_seconds)
    if options.base_links or options.chat_template:
        try:
            if options.base_links:
                source, target = options.base_links
                link_base(source, target, options.chat_prelude)
            if options.chat_template:
                source, target = options.chat_template
                write_template(source, target, options.chat_prelude)
        except (BaseError, OSError) as error:
            wrapper.give_up(str(error))
    return wrapper.run(None if options.when_ordered else {"start": {}, "accepted": True})


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments[:-1]:
        _end(f"no command follows a -- in {arguments}: name what should run, as in `-- text-generation-launcher`")
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wrapper.py", description="Runs an engine's process.")
    parser.add_argument("--control", type=Path, required=True, help="folder of orders, and of what runs")
    parser.add_argument("--when-ordered", action="store_true", help="run only what is ordered")
    parser.add_argument("--base-links", nargs=2, type=Path, metavar=("FROM", "TO"), help="make TO of FROM for TGI")
    parser.add_argument(
        "--chat-template", nargs=2, type=Path, metavar=("FROM", "TO"), help="write the base's template to TO"
    )
    parser.add_argument("--chat-prelude", default="", help="what stands before the base's chat template")
    parser.add_argument(
        "--stop-seconds", type=float, default=STOP_SECONDS, help="until what runs is killed for another"
    )
    return parser


class Signals:
    """Those that tell of an end: this process's, or a child's."""

    def __init__(self) -> None:
        self.told = False
        """Whether this process was told to end."""
        self._read, write = os.pipe()
        for end in (self._read, write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._tell)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # or nothing would be written to the pipe

    def _tell(self, *_: object) -> None:
        self.told = True

    def wait(self, seconds: float) -> None:
        """Return at a signal, or after so long."""
        select.select([self._read], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 512):
                pass


class Output:
    """What an engine writes goes on to the container's log, and its last lines are kept."""

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        self._kept = b""
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def _pass_on(self) -> None:
        while piece := os.read(self._read, 65536):
            self._kept = (self._kept + piece)[-LINES_BYTES:]
            with contextlib.suppress(OSError):  # a log that is gone must not block the engine
                while piece:
                    piece = piece[os.write(1, piece) :]
        os.close(self._read)

    def last_lines(self) -> str:
        """What was written last. All its writers have ended."""
        self._thread.join(OUTPUT_SECONDS)
        text = COLOURS.sub("", self._kept.decode(errors="replace"))
        return "\n".join(text.splitlines()[-LINES:]).strip()


class Engine:
    """One process of the command, and all that come of it. Raises OSError or ValueError where it cannot be started."""

    def __init__(self, command: list[str], start: dict[str, Any]) -> None:
        self.start = start
        self.incarnation = str(uuid.uuid4())
        self.hung = ""
        """How, where it was killed for that."""
        self.output = Output()
        try:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **start.get("environment", {})},
                stdin=subprocess.DEVNULL,
                stdout=self.output.write,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(self.output.write)

    def code(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it; None while it runs. Reaps all others."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self._process.pid:
                    self._process.returncode = _code(status)
        return self._process.returncode

    def tell(self) -> None:
        """Tell it to end; it tells its own."""
        if self._process.returncode is None:
            os.kill(self._process.pid, signal.SIGTERM)

    def kill_all(self) -> None:
        """End whatever is left of it, and return once nothing is."""
        while left := descendants(os.getpid()):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.code()
            time.sleep(0.01)


def _code(status: int) -> int:
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def descendants(ancestor: int) -> list[int]:
    """All processes that come of one, and have not been reaped."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text(errors="replace")
                parent = int(stat.rpartition(")")[2].split()[1])  # the name before it may hold anything
                children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    level = [ancestor]
    while level := [child for parent in level for child in children.get(parent, [])]:
        found += level
    return found


class Orders:
    """The agent's order, read again whenever the file is another."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: tuple[int, int] | None = None
        self._said: str | None = None

    def new(self) -> dict[str, Any] | None:
        """The order, where it was written since the last look."""
        try:
            found = self._file.stat()
            seen = (found.st_ino, found.st_mtime_ns)
            if seen == self._seen:
                return None
            text = self._file.read_bytes()
            self._seen = seen  # what could not be read is read again
            order = json.loads(text)
            if not isinstance(order["start"], dict):
                raise TypeError("start is no object")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            self._say(f"{self._file} cannot be read, what runs goes on: {error!r}")
            return None
        self._said = None
        return dict(order)

    def _say(self, text: str) -> None:
        """Once, since this is looked at again and again."""
        if text != self._said:
            _log(text)
        self._said = text


class Wrapper:
    """What runs, what should, and what is said of it."""

    def __init__(self, control: Path, command: list[str], signals: Signals, stop_seconds: float) -> None:
        self._command = command
        self._signals = signals
        self._stop_seconds = stop_seconds
        self._state_file = control / STATE_FILE
        self._order_file = control / ORDER_FILE
        self._hung_file = control / HUNG_FILE
        self._orders = Orders(self._order_file)
        self._order: dict[str, Any] | None = None
        self._engine: Engine | None = None
        self._ended = self._ended_before()
        self._say()

    def run(self, order: dict[str, Any] | None) -> int:
        """Obey an order, or each that comes; returns the exit code of an engine whose end is the container's."""
        ordered = order is None
        while not self._signals.told:
            order = self._orders.new() if ordered else order
            if order is not None:
                self._obey(order)
                order = None
            self._kill_what_hangs()
            code = self._engine.code() if self._engine else None
            if code is not None and self._follow_end(code):
                return _exit_code(code)
            self._signals.wait(POLL_SECONDS)
        return _exit_code(self._stop(None))

    def _kill_what_hangs(self) -> None:
        """The engine that runs, where the agent says of this very process that it hangs: its end is then followed."""
        hung = _object_in(self._hung_file)
        if self._engine and hung.get("incarnation") == self._engine.incarnation:
            self._engine.hung = f"{HUNG}: {hung.get('message')}"
            self._engine.kill_all()

    def give_up(self, why: str) -> NoReturn:
        """End before anything was started."""
        self._ended = _end_of(None, None, 1, why)
        self._say()
        _end(why)

    def _obey(self, order: dict[str, Any]) -> None:
        before, self._order = self._order, order
        if self._engine is not None and self._engine.start == order["start"]:
            return
        failed_before = before is None and _is_end_of_start(self._ended, order)
        if failed_before and order.get("fallback"):
            _log("this set did not come up before this container's restart; the one before it is started")
            self._run(order["fallback"])
            return
        if self._engine is not None:
            _log("another set is ordered")
            self._stop(self._stop_seconds)
        if not failed_before and (before is not None or not order.get("accepted")):
            self._ended = None  # but what this container ended by is told
        if not self._signals.told:
            self._run(order["start"])

    def _run(self, start: dict[str, Any]) -> None:
        try:
            self._engine = Engine(self._command, start)
        except (OSError, ValueError) as error:  # such as an environment that is too large for this set
            why = f"{self._command[0]} cannot be started: {error}: see the image, its PATH, the command and the order"
            if self._follow(start, _end_of(str(uuid.uuid4()), start.get("engineSet"), 1, why), "cannot be started"):
                _end(why)
            return
        _log(f"started {self._engine.incarnation} with set {start.get('engineSet')}")
        self._say()

    def _follow_end(self, code: int) -> bool:
        """The engine ended by itself. True where the container ends as well."""
        engine = self._engine
        assert engine is not None  # noqa: S101  there was one to end
        engine.kill_all()
        self._engine = None
        words = engine.output.last_lines()
        message = f"{words}\n{engine.hung}".strip()
        ended = _end_of(engine.incarnation, engine.start.get("engineSet"), code, message)
        return self._follow(engine.start, ended, engine.hung or f"ended by itself: {_words(code)}")

    def _follow(self, start: dict[str, Any], ended: dict[str, Any], how: str) -> bool:
        """Note how something ended that was started. True where it had come up: then the container ends as well.

        Of a fallback it is not noted: why the ordered set does not come up is still to be known, to the agent and to
        the process that comes after this one, or that set would be started again.
        """
        order = self._order
        assert order is not None  # noqa: S101  by which it was started
        is_fallback = start != order["start"]
        if not is_fallback:
            self._ended = ended
        self._say()
        _log(f"{'the fallback' if is_fallback else 'the engine'} {how}")
        if order.get("accepted") or is_fallback:
            return True
        if order.get("fallback"):
            self._run(order["fallback"])
        return False

    def _stop(self, seconds: float | None) -> int:
        """End what runs: told first, killed after so long, or never; returns how its first process ended."""
        engine, began = self._engine, time.monotonic()
        if engine is None:
            return 0
        engine.tell()
        while engine.code() is None and (seconds is None or time.monotonic() - began < seconds):
            self._signals.wait(POLL_SECONDS)
        told = engine.code()
        engine.kill_all()
        code = engine.code()
        engine.output.last_lines()
        self._engine = None
        self._say()
        how = _words(code) if told is not None else f"killed, since it had not ended after {seconds:g} s"
        _log(f"the engine ended as told in {time.monotonic() - began:.1f} s: {how}")
        return code if code is not None else 0

    def _ended_before(self) -> dict[str, Any] | None:
        """What an earlier process in this container's place has noted last, or how it was ended with its engine."""
        state, order = _object_in(self._state_file), _object_in(self._order_file)
        noted = state.get("ended")
        ended: dict[str, Any] | None = noted if isinstance(noted, dict) else None
        if state.get("incarnation") is None:
            return ended
        killed = _end_of(state["incarnation"], state.get("engineSet"), -signal.SIGKILL, "its container was killed")
        return ended if _is_end_of_start(ended, order) and not _is_end_of_start(killed, order) else killed

    def _say(self) -> None:
        """Whole or not at all. Raises OSError, which ends all: by an old file, an agent would trust another engine."""
        state = {
            "format": FORMAT,
            "incarnation": self._engine.incarnation if self._engine else None,
            "engineSet": self._engine.start.get("engineSet") if self._engine else None,
            "ended": self._ended,
        }
        partial = self._state_file.with_name(f"{STATE_FILE}.partial")
        partial.write_text(json.dumps(state))
        partial.replace(self._state_file)


def _end_of(incarnation: str | None, engine_set: str | None, code: int, message: str) -> dict[str, Any]:
    return {"incarnation": incarnation, "engineSet": engine_set, "code": code, "message": message}


def _is_end_of_start(ended: dict[str, Any] | None, order: dict[str, Any]) -> bool:
    """Whether what an order wants to come up has ended before it did."""
    start = order.get("start")
    found = (ended or {}).get("engineSet")
    return (
        isinstance(start, dict) and found is not None and found == start.get("engineSet") and not order.get("accepted")
    )


def _object_in(path: Path) -> dict[str, Any]:
    """A file's JSON object; an empty one where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _words(code: int | None) -> str:
    return f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _exit_code(code: int) -> int:
    return 128 - code if code < 0 else code


class BaseError(Exception):
    """TGI cannot serve this base; the text says why."""


TEMPLATE_FILE = "chat_template.jinja"
ADD_TOKENS = frozenset({"TemplateProcessing", "BertProcessing", "RobertaProcessing"})
READS = "TGI 3.3.7 (transformers 4.51)"
OTHERWISE = "Save the base with transformers 4, or serve it with another engine"


def link_base(source: Path, target: Path, prelude: str = "") -> None:
    """A folder of links to a base, with files of its tokenizer that TGI can read. Raises BaseError, or OSError."""
    require_readable(_read(source / "config.json"))
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    written = _tokenizer_files(source, prelude)
    for path in sorted(source.iterdir()):
        if path.name not in written:
            (partial / path.name).symlink_to(path)
    for name, content in written.items():
        (partial / name).write_text(json.dumps(content, ensure_ascii=False))
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def write_template(source: Path, target: Path, prelude: str) -> None:
    """A base's effective chat template as a file. Raises BaseError, or OSError."""
    config = source / "tokenizer_config.json"
    target.write_text(effective_template(source, _read(config) if config.exists() else {}, prelude))


def effective_template(source: Path, config: dict[str, Any], prelude: str) -> str:
    """The base's template as transformers finds it, and what stands before it. Raises BaseError."""
    file, kept = source / TEMPLATE_FILE, config.get("chat_template")
    if isinstance(kept, list):
        kept = next((one.get("template") for one in kept if one.get("name") == "default"), None)
    own = file.read_text() if file.exists() else kept
    if not isinstance(own, str):
        raise BaseError(f"{source} has no chat template. Put {TEMPLATE_FILE} back, with which it was inspected")
    return prelude + own


def _tokenizer_files(source: Path, prelude: str) -> dict[str, dict[str, Any]]:
    """Those that TGI needs otherwise than they are."""
    file, tokenizer, template = (source / name for name in ("tokenizer_config.json", "tokenizer.json", TEMPLATE_FILE))
    config = _read(file) if file.exists() else {}
    unbroken = prelude.replace("\n", "")  # its Jinja may write a newline that follows a block
    text = effective_template(source, config, unbroken) if prelude or template.exists() else None
    files = {file.name: readable_tokenizer(config, text)}
    if tokenizer.exists():
        found = _read(tokenizer)
        files[tokenizer.name] = {**found, "post_processor": adding_nothing(found.get("post_processor"))}
    return files


def readable_tokenizer(config: dict[str, Any], template: str | None) -> dict[str, Any]:
    """What transformers 5 saved as transformers 4.51 reads it; a template in a file of its own is not read by TGI."""
    found = {**config, "add_bos_token": False, "add_eos_token": False}
    if found.get("tokenizer_class") == "TokenizersBackend":
        found["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(found.get("extra_special_tokens"), list):  # 4.51 takes an object of names there
        found["additional_special_tokens"] = found.pop("extra_special_tokens")
    if template is not None:
        found["chat_template"] = template
    return found


def adding_nothing(processor: dict[str, Any] | None) -> dict[str, Any] | None:
    """A tokenizer's last step without what adds tokens to a text, which TGI has done whatever the template wrote.

    By router/src/lib.rs:1346 a text would begin with a second BOS, or with one that was never recorded.
    """
    if processor is None or processor.get("type") in ADD_TOKENS:
        return None
    if processor.get("type") == "Sequence":
        kept = [adding_nothing(one) for one in processor["processors"]]
        return {**processor, "processors": [one for one in kept if one is not None]}
    return processor


def require_readable(config: dict[str, Any]) -> None:
    """Raises BaseError where transformers 5 saved what 4.51 does not look at, and would compute otherwise without."""
    text = config.get("text_config")
    for part in (config, text) if isinstance(text, dict) else (config,):
        rope = part.get("rope_parameters")
        if rope is None:
            continue
        if not isinstance(rope, dict) or any(isinstance(value, dict) for value in rope.values()):
            raise BaseError(f"config.json: rope_parameters is {rope}: {READS} reads none by kind of layer. {OTHERWISE}")
        scaling = part.get("rope_scaling") or {}
        _require_same("rope_theta", rope, part.get("rope_theta", 10000))
        _require_same("rope_type", rope, scaling.get("rope_type", scaling.get("type", "default")))


def _require_same(field: str, rope: dict[str, Any], read: object) -> None:
    if rope.get(field, read) != read:
        text = f"config.json: rope_parameters.{field} is {rope[field]!r}: {READS} does not read it and would compute"
        raise BaseError(f"{text} with {read!r}. {OTHERWISE}")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise BaseError(f"{path} is no JSON: {error}. Save the base again") from error
    if not isinstance(found, dict):
        raise BaseError(f"{path} is no object. Save the base again")
    return found


def _log(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"wrapper: {text}\n".encode())


def _end(why: str) -> NoReturn:
    _log(why)
    sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
