"""Numbers of a line are never used twice."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from wardrobe.run.lines import Line, claim, claim_entry, line_manifest, read_line

RUNS = st.sampled_from(["run-a", "run-b", "run-c", "run-d"])
STEPS = st.lists(st.tuples(st.sampled_from(["claim", "create", "drop", "delete", "import"]), RUNS), max_size=40)


def drop(line: Line, run: str) -> Line:
    """As the operator does: one entry of the record goes."""
    manifest = line_manifest(replace(line, resource_version="7"), "ward")
    del manifest["data"][claim_entry(run)]
    return replace(read_line(line.name, manifest), resource_version="")


@given(STEPS)
def test_no_two_adapters_ever_get_one_number(steps: list[tuple[str, str]]) -> None:
    line, existing, ever = Line("cardiology"), dict[int, str](), set[int]()
    for what, run in steps:
        others = [number for number, owner in existing.items() if owner != run]
        mine = [number for number, owner in existing.items() if owner == run]
        match what:
            case "claim" if not mine:
                line = claim(line, run, others)
            case "create" if run in line.claims and line.claims[run] not in existing and not mine:
                number = line.claims[run]
                assert number not in ever, "a number was used twice"
                existing[number] = run
                ever.add(number)
            case "drop" if mine and run in line.claims:
                line = drop(line, run)
            case "delete" if mine and run not in line.claims:
                del existing[mine[0]]
            case "import":
                number = max(line.next, max(ever, default=0)) + 3
                existing[number], ever = "somebody", ever | {number}


@given(st.dictionaries(RUNS, st.integers(1, 99)), st.integers(1, 99), st.sets(st.integers(1, 99)))
def test_a_claim_is_kept_and_free(claims: dict[str, int], following: int, taken: set[int]) -> None:
    line = Line("cardiology", max([following, *claims.values()]) + 1, claims)
    claimed = claim(line, "run-x", taken)
    number = claimed.claims["run-x"]
    assert number not in taken | set(claims.values())
    assert claimed.next > number
    assert claim(claimed, "run-x", taken) == claimed
    assert drop(claimed, "run-x").next == claimed.next


@given(st.dictionaries(RUNS, st.integers(1, 99)), st.integers(1, 99))
def test_the_record_is_read_as_it_was_written(claims: dict[str, int], following: int) -> None:
    line = Line("cardiology", following, claims, "7")
    assert read_line("cardiology", line_manifest(line, "ward")) == line


def test_a_line_without_record_begins_at_one() -> None:
    assert claim(read_line("cardiology", None), "run-a", ()).claims == {"run-a": 1}
