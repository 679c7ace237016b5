"""The wrapper of an engine's process, with small programs in the engine's place: real processes, real signals."""

import ast
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from support.results import digest
from support.waiting import HANG, eventually

from wardrobe_contracts.base import Exchanged
from wardrobe_contracts.engine_process import (
    HUNG_FILE,
    ORDER_FILE,
    STATE_FILE,
    Ended,
    Hung,
    ProcessOrder,
    ProcessState,
    Start,
)
from wardrobe_gateway.wrapper import install, wrapper

WRAPPER = Path(wrapper.__file__)
A, B, C = (digest(letter) for letter in "abc")

ENGINE = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
name = os.environ.get("SET", "none")
def end(*_):
    (folder / f"{name}.ended").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print(f"{name} starts", flush=True)
(folder / f"{name}.pid").write_text(str(os.getpid()))
while True:
    time.sleep(0.02)
    if (folder / f"{name}.die").exists():
        print(f"{name} dies", file=sys.stderr, flush=True)
        os._exit(int((folder / f"{name}.die").read_text() or 1))
"""
"""Ends as told, or by itself when there is a file with its exit code. Says its process id in a file."""

WITH_SHARD = (
    """
import subprocess, os, pathlib, sys, time
file = sys.argv[1] + "/" + os.environ.get("SET", "none") + ".shard"
subprocess.Popen(
    [sys.executable, "-c", "import os, time, pathlib, sys, signal; signal.signal(15, signal.SIG_IGN); "
     "pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(1000)",
     file],
    start_new_session=True,
)
while not pathlib.Path(file).exists():
    time.sleep(0.01)
"""
    + ENGINE
)
"""Leaves behind what has a session of its own and does not end as told."""

DEAF = ENGINE.replace("signal.signal(signal.SIGTERM, end)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")


class Wrapped:
    """A wrapper and its engine."""

    def __init__(self, folder: Path, engine: str, *options: str, before: Sequence[str] = ()) -> None:
        self.folder = folder
        self.control = folder / "control"
        self.control.mkdir(exist_ok=True)
        self.log = folder / "log"
        self._arguments = [*before, sys.executable, str(WRAPPER), "--control", str(self.control), *options, "--"]
        self._arguments += [sys.executable, "-c", dedent(engine), str(folder)]
        self.start()

    def start(self) -> None:
        """As the kubelet does, again and again."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._arguments, stdout=log, stderr=log)

    def order(self, engine_set: str, fallback: str | None = None, *, accepted: bool = False, **more: str) -> None:
        def start(name: str, **more: str) -> Start:
            return Start(engine_set=name, environment={"SET": name[-1], **more})

        before = start(fallback) if fallback else None
        self._write(ORDER_FILE, ProcessOrder(start=start(engine_set, **more), fallback=before, accepted=accepted))

    def hangs(self, incarnation: str) -> None:
        self._write(HUNG_FILE, Hung(incarnation=incarnation, message="it gave no token"))

    def _write(self, name: str, content: Exchanged) -> None:
        partial = self.control / "partial"
        partial.write_text(content.model_dump_json(by_alias=True))
        partial.rename(self.control / name)

    @property
    def state(self) -> ProcessState:
        try:
            return ProcessState.model_validate_json((self.control / STATE_FILE).read_bytes())
        except FileNotFoundError:
            return ProcessState()

    def until(self, check: Callable[[], Any], what: str) -> Any:
        return eventually(check, every=0.02, what=lambda: f"{what}: {self.state} {self.log.read_text()}")

    def pid(self, name: str) -> int:
        """Of a process that has said so."""
        file = self.folder / name
        return int(self.until(lambda: file.exists() and file.read_text(), f"{name} runs"))

    def runs(self, engine_set: str | None, name: str) -> str:
        """Wait for a set to run; returns its incarnation."""
        self.pid(f"{name}.pid")
        self.until(lambda: self.state.incarnation and self.state.engine_set == engine_set, f"{engine_set} runs")
        assert self.state.incarnation is not None
        return self.state.incarnation

    def kill_container(self) -> None:
        """As the kernel does at a container's limit of memory: all at once, and none can write of it."""
        self.process.send_signal(signal.SIGSTOP)  # or it would see its engine end
        for pid in [*wrapper.descendants(self.process.pid), self.process.pid]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(HANG)

    def forget(self, *names: str) -> None:
        for name in names:
            (self.folder / name).unlink()

    def dies(self, name: str, code: int = 1) -> None:
        (self.folder / f"{name}.die").write_text(str(code))

    def ended(self) -> Ended:
        found: Ended = self.until(lambda: self.state.ended, "an end is noted")
        return found

    def code(self) -> int:
        return self.process.wait(HANG)


@pytest.fixture
def wrapped(tmp_path: Path) -> Iterator[Callable[..., Wrapped]]:
    made: list[Wrapped] = []

    def make(engine: str, *options: str, before: Sequence[str] = ()) -> Wrapped:
        made.append(Wrapped(tmp_path, engine, *options, before=before))
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            for pid in [one.process.pid, *wrapper.descendants(one.process.pid)]:
                os.kill(pid, signal.SIGKILL)
            one.process.wait()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_it_is_one_file_for_python_3_9_and_up() -> None:
    tree = ast.parse(WRAPPER.read_text(), feature_version=(3, 9))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


def test_it_is_brought_whole(tmp_path: Path) -> None:
    install.install(tmp_path)
    install.install(tmp_path)  # as at every start of the pod
    assert [path.name for path in tmp_path.iterdir()] == ["wrapper.py"]
    assert (tmp_path / "wrapper.py").read_bytes() == WRAPPER.read_bytes()


# An engine that takes adapters while it runs


def test_without_orders_the_command_runs_at_once_and_each_process_has_a_name_of_its_own(
    wrapped: Callable[..., Wrapped],
) -> None:
    one = wrapped(ENGINE)
    first = one.runs(None, "none")
    one.dies("none", 7)
    assert one.code() == 7
    assert one.state.incarnation is None
    assert one.ended().incarnation == first
    assert (one.ended().code, one.ended().message) == (7, "none starts\nnone dies")
    assert "none starts\nnone dies\n" in one.log.read_text()
    (one.folder / "none.die").unlink()
    (one.folder / "none.pid").unlink()
    one.start()
    assert one.runs(None, "none") != first


def test_an_engine_that_a_signal_ended_ends_the_container_as_shells_say_it(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(ENGINE)
    one.runs(None, "none")
    os.kill(one.pid("none.pid"), signal.SIGKILL)
    assert one.code() == 128 + signal.SIGKILL
    assert one.ended().code == -signal.SIGKILL


def test_an_engine_that_hangs_is_killed_with_all_that_came_of_it(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(WITH_SHARD)
    first, shard = one.runs(None, "none"), one.pid("none.shard")
    os.kill(one.pid("none.pid"), signal.SIGSTOP)
    one.hangs(first)
    assert one.code() == 128 + signal.SIGKILL
    assert (one.ended().incarnation, one.ended().code) == (first, -signal.SIGKILL)
    assert not alive(shard)
    how = "hung, and was killed: it gave no token"
    assert one.ended().message == f"none starts\n{how}"
    assert one.log.read_text().splitlines()[-1] == f"wrapper: the engine {how}"  # which a condition quotes
    one.forget("none.pid", "none.shard")
    one.start()
    second = one.runs(None, "none")
    one.dies("none", 5)
    assert one.code() == 5  # that another has hung says nothing of this one
    assert one.ended().incarnation == second


def test_a_set_that_hung_after_it_had_come_up_runs_again(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(ENGINE, "--when-ordered")
    one.order(A, accepted=True)
    one.hangs(one.runs(A, "a"))
    assert one.code() == 128 + signal.SIGKILL
    one.forget("a.pid")
    one.start()
    one.runs(A, "a")


def test_told_to_end_it_tells_the_engine_and_ends_as_it_does(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(WITH_SHARD)
    one.runs(None, "none")
    shard = one.pid("none.shard")
    one.process.send_signal(signal.SIGTERM)
    assert one.code() == 0
    assert (one.folder / "none.ended").exists()
    assert not alive(shard)
    assert one.state == ProcessState()  # ended as told: nothing to note


NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc"]


def _may_make_namespaces() -> bool:
    return subprocess.run([*NAMESPACE, "true"], check=False).returncode == 0


@pytest.mark.skipif(not _may_make_namespaces(), reason="needs the right to make a namespace of processes")
def test_as_pid_1_it_ends_and_reaps_all_that_an_engine_leaves(wrapped: Callable[..., Wrapped], tmp_path: Path) -> None:
    one = wrapped(WITH_SHARD, "--when-ordered", before=[*NAMESPACE, "--kill-child"])
    one.order(A)
    one.runs(A, "a")
    one.order(B, A)
    one.runs(B, "b")
    child = Path(f"/proc/{one.process.pid}/task/{one.process.pid}/children").read_text().split()[0]
    below = one.until(lambda: _below(child), "B runs")
    assert len(below) == 2  # the engine and its shard: nothing of A, not even unreaped
    os.kill(int(child), signal.SIGTERM)
    assert one.code() == 0


def _below(pid: str) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split() + [
        grandchild
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for grandchild in Path(f"/proc/{child}/task/{child}/children").read_text().split()
    ]


def test_a_command_that_is_not_there_is_said(wrapped: Callable[..., Wrapped], tmp_path: Path) -> None:
    arguments = [sys.executable, str(WRAPPER), "--control", str(tmp_path)]
    for command, said in (["--", "no-such-launcher"], "no-such-launcher cannot be started"), ([], "no command follows"):
        ended = subprocess.run([*arguments, *command], capture_output=True, text=True, check=False)
        assert (ended.returncode, said in ended.stderr) == (1, True), ended.stderr


# An engine that takes adapters when it starts


def test_nothing_runs_before_an_order(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(ENGINE, "--when-ordered")
    one.until((one.control / STATE_FILE).exists, "it waits")
    assert one.state == ProcessState()
    one.order(A)
    one.runs(A, "a")
    one.process.send_signal(signal.SIGTERM)
    assert one.code() == 0


def test_an_order_that_cannot_be_read_leaves_what_runs(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(ENGINE, "--when-ordered")
    one.order(A)
    first = one.runs(A, "a")
    (one.control / ORDER_FILE).write_text('{"start": 1}')
    one.until(lambda: "cannot be read" in one.log.read_text(), "it is said")
    assert one.state.incarnation == first
    one.order(B)
    one.runs(B, "b")


def test_an_order_is_read_again_after_a_passing_error_and_a_senseless_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / ORDER_FILE
    file.write_text('{"start": {}}')
    orders = wrapper.Orders(file)

    def fail(_: Path) -> bytes:
        raise OSError("no file handles are left")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", fail)
        assert [orders.new(), orders.new()] == [None, None]
    assert capfd.readouterr().err.count("no file handles are left") == 1
    assert [orders.new(), orders.new()] == [{"start": {}}, None]
    file.with_name("next").write_text("[" * 100_000)
    file.with_name("next").rename(file)
    assert [orders.new(), orders.new()] == [None, None]
    assert capfd.readouterr().err.count("cannot be read") == 1


def test_another_order_ends_all_of_the_engine_and_starts_it_with_the_new_set(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(WITH_SHARD, "--when-ordered")
    one.order(A)
    first, shard = one.runs(A, "a"), one.pid("a.shard")
    one.order(B, A)
    assert one.runs(B, "b") != first
    assert (one.folder / "a.ended").exists()
    assert not alive(shard)
    assert one.state.ended is None


def test_an_order_that_only_accepts_starts_nothing(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(ENGINE, "--when-ordered")
    one.order(A)
    first = one.runs(A, "a")
    one.order(A, accepted=True)
    one.dies("a", 3)
    assert one.code() == 3  # the order was read
    assert one.ended() == Ended(incarnation=one.ended().incarnation, engine_set=A, code=3, message="a starts\na dies")
    (one.folder / "a.die").unlink()
    (one.folder / "a.pid").unlink()
    one.start()  # the kubelet does: what was ordered last runs again, and the end is still known
    assert one.runs(A, "a") != first
    assert one.state.ended is not None


def test_an_engine_that_does_not_end_as_told_is_killed(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(DEAF, "--when-ordered", "--stop-seconds", "0.3")
    one.order(A)
    one.runs(A, "a")
    pid = one.pid("a.pid")
    one.order(B)
    one.runs(B, "b")
    assert not alive(pid)
    assert "killed, since it had not ended after 0.3 s" in one.log.read_text()


@pytest.mark.parametrize("code", [0, 1])
def test_a_set_that_does_not_come_up_is_followed_by_the_one_before(wrapped: Callable[..., Wrapped], code: int) -> None:
    one = wrapped(WITH_SHARD, "--when-ordered")
    one.order(A, accepted=True)
    one.runs(A, "a")
    one.dies("b", code)
    one.order(B, A)
    shard = one.pid("b.shard")
    one.until(lambda: one.state.ended, "its end is noted")
    one.runs(A, "a")
    assert one.ended() == Ended(
        incarnation=one.ended().incarnation, engine_set=B, code=code, message="b starts\nb dies"
    )
    assert not alive(shard)
    assert one.process.poll() is None


def test_a_set_known_not_to_come_up_is_not_started_again_with_the_container(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(ENGINE, "--when-ordered")
    one.dies("b")
    one.order(B, A)
    one.runs(A, "a")
    one.forget("b.pid")
    one.dies("a", 9)
    assert one.code() == 9  # it had been serving: the container ends with it
    assert one.ended().engine_set == B  # why the order was not obeyed is still told
    one.forget("a.die", "a.pid")
    one.start()
    one.runs(A, "a")
    assert not (one.folder / "b.pid").exists()


def test_a_set_that_was_killed_with_its_container_is_not_started_again(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(WITH_SHARD, "--when-ordered")
    one.order(B, A)
    killed = one.runs(B, "b")
    one.kill_container()
    one.forget("b.pid")
    for _ in range(2):
        one.start()
        one.runs(A, "a")
        end = Ended(incarnation=killed, engine_set=B, code=-signal.SIGKILL, message="its container was killed")
        assert one.ended() == end
        assert not (one.folder / "b.pid").exists()
        one.kill_container()  # the fallback, too
        one.forget("a.pid")


def test_a_first_set_that_was_killed_with_its_container_is_started_again_and_its_end_is_told(
    wrapped: Callable[..., Wrapped],
) -> None:
    one = wrapped(ENGINE, "--when-ordered")
    one.order(A)
    killed = one.runs(A, "a")
    one.kill_container()
    one.forget("a.pid")
    one.start()
    assert one.runs(A, "a") != killed
    assert one.ended().incarnation == killed


def test_an_engine_that_served_and_was_killed_with_its_container_runs_again(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(ENGINE, "--when-ordered")
    one.dies("b")
    one.order(B, A)
    one.runs(A, "a")
    one.order(A, accepted=True)
    killed = one.runs(A, "a")
    one.kill_container()
    one.forget("a.pid")
    one.start()
    assert one.runs(A, "a") != killed
    assert (one.ended().incarnation, one.ended().code) == (killed, -signal.SIGKILL)


def test_a_set_whose_environment_is_too_large_is_followed_by_the_one_before(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(ENGINE, "--when-ordered")
    one.order(A, accepted=True)
    one.runs(A, "a")
    one.forget("a.pid")
    one.order(B, A, LORA_ADAPTERS="x" * (128 << 10))  # of one variable Linux takes less
    one.runs(A, "a")
    assert (one.ended().engine_set, one.ended().code) == (B, 1)
    assert "cannot be started: [Errno 7] Argument list too long" in one.ended().message
    assert one.ended().incarnation
    one.order(C, LORA_ADAPTERS="x" * (128 << 10))
    one.until(lambda: one.ended().engine_set == C, "its end is noted")
    assert one.process.poll() is None  # another is waited for


def test_a_first_set_that_does_not_come_up_is_noted_and_another_is_waited_for(
    wrapped: Callable[..., Wrapped],
) -> None:
    one = wrapped(ENGINE, "--when-ordered")
    one.dies("a", 1)
    one.order(A)
    assert one.ended() == Ended(incarnation=one.ended().incarnation, engine_set=A, code=1, message="a starts\na dies")
    assert (one.state.incarnation, one.process.poll()) == (None, None)
    one.order(B)
    one.runs(B, "b")
    assert one.state.ended is None
    one.process.send_signal(signal.SIGTERM)
    assert one.code() == 0


def test_a_set_that_hangs_is_replaced_by_another_order(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(ENGINE, "--when-ordered")
    one.order(B, A)
    one.runs(B, "b")  # it runs, and never answers: the agent's affair
    one.order(A, accepted=True)
    one.runs(A, "a")


def test_told_to_end_while_an_engine_is_being_stopped_it_starts_none(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(DEAF, "--when-ordered", "--stop-seconds", "1")
    one.order(A)
    one.runs(A, "a")
    one.order(B)
    one.until(lambda: "another set is ordered" in one.log.read_text(), "it stops")
    one.process.send_signal(signal.SIGTERM)
    one.code()
    assert not (one.folder / "b.pid").exists()
    assert not alive(one.pid("a.pid"))


def test_the_last_lines_are_kept_without_colours_and_all_goes_to_the_log(wrapped: Callable[..., Wrapped]) -> None:
    one = wrapped(
        r"""
        import sys
        print("\x1b[31mred\x1b[0m", *range(50), sep="\n")
        print("last", file=sys.stderr)
        sys.exit(1)
        """
    )
    assert one.code() == 1
    lines = one.ended().message.splitlines()
    assert lines[-1] == "last" or "last" in lines
    assert len(lines) == wrapper.LINES
    assert "\x1b" not in one.ended().message
    assert {"0", "49", "last"} <= set(one.log.read_text().splitlines())


# A base that TGI can read


def saved(folder: Path, **files: Any) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_a_base_of_transformers_5_is_linked_with_a_tokenizer_that_tgi_reads(tmp_path: Path) -> None:
    config = {"model_type": "llama", "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}}
    tokenizer = {"tokenizer_class": "TokenizersBackend", "extra_special_tokens": ["<|x|>"], "eos_token": "<|end|>"}
    base = saved(tmp_path / "base", config=config, tokenizer_config=tokenizer)
    (base / "chat_template.jinja").write_text("{{ messages }}")
    (base / "model.safetensors").write_bytes(b"weights")
    target = tmp_path / "control" / "base"
    for _ in range(2):  # a container that starts again finds the folder of before
        wrapper.link_base(base, target)
    assert json.loads((target / "tokenizer_config.json").read_text()) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "additional_special_tokens": ["<|x|>"],
        "eos_token": "<|end|>",
        "chat_template": "{{ messages }}",
        "add_bos_token": False,
        "add_eos_token": False,
    }
    assert (target / "model.safetensors").readlink() == base / "model.safetensors"
    assert json.loads((target / "config.json").read_text()) == config
    assert json.loads((base / "tokenizer_config.json").read_text()) == tokenizer  # the base is as it was


PRELUDE = "{% set thinks = false %}\n"
KEPT = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "own"}]


@pytest.mark.parametrize(
    ("config", "file"),
    [({"chat_template": "own"}, None), ({"chat_template": KEPT}, None), ({"chat_template": "x"}, "own")],
)
def test_the_effective_template_is_written_for_every_engine(
    tmp_path: Path, config: dict[str, Any], file: str | None
) -> None:
    base = saved(tmp_path / "base", config={}, tokenizer_config=config)
    if file:
        (base / "chat_template.jinja").write_text(file)
    wrapper.link_base(base, tmp_path / "links", PRELUDE)
    wrapper.write_template(base, tmp_path / "template", PRELUDE)
    linked = json.loads((tmp_path / "links" / "tokenizer_config.json").read_text())
    assert (tmp_path / "template").read_text() == PRELUDE + "own"
    assert linked["chat_template"] == PRELUDE.rstrip() + "own"


def test_a_template_is_written_before_the_engine_starts(wrapped: Callable[..., Wrapped], tmp_path: Path) -> None:
    base, target = saved(tmp_path / "base", tokenizer_config={"chat_template": "own"}), tmp_path / "template"
    read = f"import pathlib, sys; sys.exit(len(pathlib.Path({str(target)!r}).read_text()))"
    one = wrapped(read, "--chat-template", str(base), str(target), "--chat-prelude", PRELUDE)
    assert one.code() == len(PRELUDE + "own")


def test_a_base_whose_template_is_gone(wrapped: Callable[..., Wrapped], tmp_path: Path) -> None:
    base = saved(tmp_path / "base", tokenizer_config={})
    one = wrapped(ENGINE, "--chat-template", str(base), str(tmp_path / "template"), "--chat-prelude", PRELUDE)
    assert one.code() == 1
    assert "has no chat template" in one.ended().message


def test_a_tokenizer_adds_no_tokens_of_its_own(tmp_path: Path) -> None:
    vocabulary = {"model": {"vocab": {"ä": 1}}}
    adds, other = {"type": "TemplateProcessing", "single": []}, {"type": "ByteLevel"}
    base = saved(
        tmp_path / "base",
        config={"rope_theta": 500000.0},
        tokenizer_config={"tokenizer_class": "LlamaTokenizerFast", "chat_template": "x", "add_bos_token": True},
        tokenizer={**vocabulary, "post_processor": {"type": "Sequence", "processors": [adds, other]}},
    )
    wrapper.link_base(base, tmp_path / "links")
    linked = json.loads((tmp_path / "links" / "tokenizer.json").read_text())
    assert linked == {**vocabulary, "post_processor": {"type": "Sequence", "processors": [other]}}
    config = json.loads((tmp_path / "links" / "tokenizer_config.json").read_text())
    assert (config["chat_template"], config["add_bos_token"]) == ("x", False)
    assert wrapper.adding_nothing(adds) is None
    assert wrapper.adding_nothing(other) == other


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"rope_parameters": {"rope_theta": 500000.0}}, "rope_theta is 500000.0: .* would compute with 10000"),
        ({"rope_parameters": {"rope_type": "llama3"}}, "rope_type is 'llama3': .* would compute with 'default'"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}, "none by kind of layer"),
        ({"text_config": {"rope_parameters": {"rope_theta": 1e6}}}, "rope_theta is 1000000.0"),
        ({"rope_parameters": {"rope_theta": 500000.0}, "rope_theta": 500000.0}, ""),
        ({"rope_parameters": {"rope_type": "llama3"}, "rope_scaling": {"rope_type": "llama3"}}, ""),
        ({"rope_parameters": None}, ""),
    ],
)
def test_what_tgi_would_not_see_of_a_base_is_refused(config: dict[str, Any], said: str) -> None:
    if not said:
        return wrapper.require_readable(config)
    with pytest.raises(wrapper.BaseError, match=rf"config.json: .*{said}.*another engine"):
        wrapper.require_readable(config)
    return None


def test_a_base_that_is_refused_is_said_to_the_agent_and_nothing_starts(
    wrapped: Callable[..., Wrapped], tmp_path: Path
) -> None:
    base = saved(tmp_path / "base", config={"rope_parameters": {"rope_theta": 500000.0}})
    one = wrapped(ENGINE, "--when-ordered", "--base-links", str(base), str(tmp_path / "links"))
    assert one.code() == 1
    assert "rope_theta is 500000.0" in one.ended().message
    assert one.ended().engine_set is None
    assert not (tmp_path / "links").exists()
