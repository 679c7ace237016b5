"""What the demo prints fits a terminal of 100 columns, and says all it was given."""

from demo.layout import command_lines, duration, progress_line, side_by_side, tables
from hypothesis import given
from hypothesis import strategies as st

WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=24), max_size=60).map(" ".join)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3), st.integers(80, 100))
def test_columns_stay_within_the_width_and_lose_no_word(columns: list[tuple[str, str]], width: int) -> None:
    lines = side_by_side(columns, width)
    assert all(len(line) <= width for line in lines)
    words = [word for heading, text in columns for word in f"{heading} {text}".split()]
    printed = [word for word in " ".join(lines).split() if set(word) != {"-"}]
    assert sorted(printed) == sorted(words)


def test_each_text_stands_under_its_heading() -> None:
    assert side_by_side([("one", "a b"), ("two of it", "c"), ("three", "")], 27) == [
        "          two of",
        "one       it        three",
        "-------   -------   -------",
        "a b       c",
    ]


def test_kubectls_tables_are_narrowed_and_folded() -> None:
    wide = (
        "NAME                                    READY   REASON\n"
        "basemodel.wardrobe.dev/tantanila-base   True    Inspected\n"
        "\n"
        "NAME                                  SUCCEEDED   REASON      SCORE   ADAPTER\n"
        "finetunejob.wardrobe.dev/cardiology   Unknown     Training            \n"
        "finetunejob.wardrobe.dev/renal        True        Succeeded   2 → 1   renal-v1\n"
    )
    assert tables(wide, 47) == [
        "NAME                      READY  REASON",
        "basemodel/tantanila-base  True   Inspected",
        "",
        "NAME                    SUCCEEDED  REASON",
        "finetunejob/cardiology  Unknown    Training",
        "finetunejob/renal       True       Succeeded",
        "    SCORE  ADAPTER",
        "",
        "    2 → 1  renal-v1",
    ]


def test_a_long_command_is_one_command_still() -> None:
    command = """curl -s "$URL/v1" -H "Authorization: Bearer $(kubectl get secret keys | base64 -d)" -d '{"a":"b c"}'"""
    assert command_lines(command, 60) == [
        'curl -s "$URL/v1" \\',
        '    -H "Authorization: Bearer $(kubectl get secret keys | base64 -d)" \\',
        """    -d '{"a":"b c"}'""",
    ]


def test_progress_never_wraps() -> None:
    assert progress_line(65.4, "cardiology: training 42/114,\n50s left") == (
        "  … 1:05  cardiology: training 42/114, 50s left"
    )
    long = progress_line(1, "word " * 40)
    assert len(long) == 100
    assert long.endswith("…")


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.314, 42.2, 185)] == ["0.31 s", "42 s", "3 min 5 s"]
