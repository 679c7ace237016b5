"""The files between the agent and the wrapper, as the agent reads them."""

import os
from pathlib import Path

import pytest

from wardrobe_contracts.engine_process import ORDER_FILE, STATE_FILE, ProcessState
from wardrobe_gateway.agent import engine_process
from wardrobe_gateway.agent.engine_process import EngineProcess

RUNS = ProcessState(incarnation="one")


@pytest.fixture
def process(tmp_path: Path) -> EngineProcess:
    (tmp_path / STATE_FILE).write_text(RUNS.model_dump_json(by_alias=True))
    return EngineProcess(tmp_path)


def test_without_a_file_no_wrapper_runs_the_engine(process: EngineProcess, tmp_path: Path) -> None:
    assert process.state() == RUNS
    (tmp_path / STATE_FILE).unlink()
    assert process.state() is None
    assert process.order() is None


def test_one_error_of_reading_is_overlooked(process: EngineProcess, tmp_path: Path) -> None:
    assert process.state() == RUNS
    (tmp_path / STATE_FILE).rename(tmp_path / "aside")
    (tmp_path / STATE_FILE).mkdir()
    assert process.state() == RUNS
    assert [process.state(), process.state()] == [ProcessState(), ProcessState()]
    (tmp_path / STATE_FILE).rmdir()
    (tmp_path / "aside").rename(tmp_path / STATE_FILE)
    assert process.state() == RUNS


def test_neither_a_pipe_nor_a_huge_file_is_read(process: EngineProcess, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ORDER_FILE)
    assert process.order() is None
    (tmp_path / STATE_FILE).write_bytes(b" " * (engine_process.MOST_BYTES + 1) + b"{}")
    assert process.state() == ProcessState()


def test_what_is_no_state_is_as_if_nothing_ran(process: EngineProcess, tmp_path: Path) -> None:
    assert process.state() == RUNS
    (tmp_path / STATE_FILE).write_text("[]")
    assert process.state() == ProcessState()
