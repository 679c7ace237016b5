"""How a pod's container names its task."""

import pytest

from wardrobe_trainer.__main__ import ORDERS, Options


@pytest.mark.parametrize("task", ORDERS)
def test_each_task_has_a_word(task: str) -> None:
    assert Options.parse([task]).task == task


def test_help_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        Options.parse(["--help"])
    assert ", ".join(ORDERS) in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: TASK"),
        (["cook"], "TASK cook is not allowed: it must be one of inspect, check"),
        (["check", "more"], "unrecognized arguments: more"),
    ],
)
def test_what_is_no_task_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        Options.parse(arguments)
    assert message in capsys.readouterr().err
