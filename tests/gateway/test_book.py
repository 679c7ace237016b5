"""What the agent does next, and when its pod is Ready. Pure."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from support.artifacts import BASE
from support.gateway import routes
from support.results import digest

from wardrobe_contracts.probes import Probes
from wardrobe_contracts.routes import RoutedAdapter, Verification, version_name
from wardrobe_contracts.state import Reason, Verdict
from wardrobe_gateway.agent import book
from wardrobe_gateway.agent.book import Book, Drop, Entry, Fetch, Load, Prove, Step, next_step
from wardrobe_gateway.agent.fetch import Fetched

LETTERS = "abcd"


def adapter(letter: str, *departments: str) -> RoutedAdapter:
    return RoutedAdapter(
        version=version_name("cardiology-v1", digest(letter)),
        adapter="cardiology-v1",
        departments=list(departments) or ["cardiology"],
        artifact="somewhere",
        digest=digest(letter),
        manifest_digest=digest("e"),
    )


A, B = adapter("a"), adapter("b")
FETCHED = Fetched(Path("copy"), Probes(adapter_digest=digest("a"), base_digest=BASE, seed=0, probes=[]))
NEW = Entry(A)
COPIED = replace(NEW, fetched=FETCHED)
LOADED = replace(COPIED, loaded=True)
PROVED = replace(LOADED, verdict=Verdict.APPLIED, reason=Reason.PROVED, due=100.0)


def step(*entries: Entry, routed: frozenset[str] = frozenset(), up: bool = True, now: float = 1.0) -> Step | None:
    by_name = {entry.adapter.version: entry for entry in entries}
    return next_step(by_name, routed, {}, now, engine_up=up)


def test_one_version_goes_its_way() -> None:
    assert step(NEW) == Fetch(A.version)
    assert step(NEW, up=False) == Fetch(A.version)
    assert step(COPIED) == Load(A.version)
    assert step(COPIED, up=False) is None
    assert step(LOADED) == Prove(A.version)
    assert step(PROVED) is None
    assert step(PROVED, now=101.0) == Prove(A.version)
    assert step(replace(NEW, due=5.0)) is None


def test_the_routed_come_first_and_all_are_loaded_before_any_is_proved() -> None:
    other = replace(NEW, adapter=B)
    assert step(NEW, other, routed=frozenset({B.version})) == Fetch(B.version)
    assert step(LOADED, replace(COPIED, adapter=B)) == Load(B.version)


def test_who_left_is_dropped_after_a_while_and_not_under_a_request() -> None:
    left = replace(PROVED, left=0.0)
    entries = {A.version: left}
    late = book.LEAVE_SECONDS + 1
    assert next_step(entries, frozenset(), {}, 1.0, engine_up=True) is None
    assert next_step(entries, frozenset(), {A.version: 1}, late, engine_up=True) is None
    assert next_step(entries, frozenset(), {}, late, engine_up=True) == Drop(A.version)
    assert step(replace(COPIED, left=0.0)) == Drop(A.version)  # the engine never had it


def test_following_routes() -> None:
    pages = Book()
    pages.follow(routes([A], {"cardiology": A.version}), 1.0)
    pages.change(A.version, fetched=FETCHED, loaded=True, verdict=Verdict.APPLIED, reason=Reason.PROVED)
    pages.follow(routes([adapter("a", "cardiology", "renal"), B], {"cardiology": A.version}), 2.0)
    assert pages.entries[A.version].verdict is Verdict.APPLIED
    assert pages.entries[A.version].adapter.departments == ["cardiology", "renal"]
    pages.follow(routes([B], {"cardiology": B.version}), 3.0)
    assert pages.entries[A.version].left == 3.0
    pages.follow(routes([A, B], {"cardiology": A.version}), 4.0)
    assert pages.entries[A.version].left is None
    probed_again = A.model_copy(update={"manifest_digest": digest("f")})
    pages.follow(routes([probed_again, B], {"cardiology": A.version}), 5.0)
    assert pages.entries[A.version].fetched is None
    assert pages.entries[A.version].verdict is Verdict.PENDING


def test_losing_the_engine_takes_back_what_it_was_given_and_nothing_else() -> None:
    pages = Book()
    pages.entries = {A.version: PROVED, B.version: replace(NEW, adapter=B, verdict=Verdict.DIGEST_MISMATCH)}
    pages.lose_engine(Reason.ENGINE_DOWN, "gone")
    assert pages.entries[A.version].verdict is Verdict.PENDING
    assert not pages.entries[A.version].loaded
    assert pages.entries[B.version].verdict is Verdict.DIGEST_MISMATCH
    assert pages.served(Verification.ENFORCE) == frozenset()


def test_doubt_falls_on_loaded_others_and_siblings_share_a_department() -> None:
    foreign = adapter("c", "paediatrics")
    pages = Book()
    pages.entries = {
        A.version: PROVED,
        B.version: replace(PROVED, adapter=B),
        foreign.version: replace(PROVED, adapter=foreign),
    }
    assert pages.siblings(A.version) == [B.version]
    pages.doubt(A.version)
    assert [entry.due for entry in pages.entries.values()] == [100.0, 0.0, 0.0]


def test_since_moves_with_verdict_or_reason_only() -> None:
    pages = Book()
    pages.entries = {A.version: replace(PROVED, since="then")}
    pages.change(A.version, message="x", due=1.0)
    assert pages.entries[A.version].since == "then"
    pages.change(A.version, reason=Reason.TOO_CLOSE)
    assert pages.entries[A.version].since != "then"
    pages.change("nobody", message="x")


@given(st.sampled_from(list(Verdict)), st.booleans())
def test_only_applied_is_served_unless_proofs_are_only_reported(verdict: Verdict, loaded: bool) -> None:
    entry = replace(NEW, verdict=verdict, loaded=loaded)
    assert entry.served(Verification.ENFORCE) == (loaded and verdict is Verdict.APPLIED)
    never = {Verdict.PENDING, Verdict.DIGEST_MISMATCH, Verdict.LOAD_FAILED}
    assert entry.served(Verification.REPORT) == (loaded and verdict not in never)


def test_opening() -> None:
    first = {A.version, B.version}
    bad = replace(NEW, adapter=B, verdict=Verdict.LOAD_FAILED)
    assert not book.has_opened(first, {A.version: PROVED, B.version: replace(NEW, adapter=B)}, frozenset({A.version}))
    assert book.has_opened(first, {A.version: PROVED, B.version: bad}, frozenset({A.version}))
    assert book.has_opened(first, {A.version: PROVED}, frozenset({A.version}))  # the other left the set meanwhile
    assert not book.has_opened({B.version}, {B.version: bad}, frozenset())
    assert not book.has_opened((), {}, frozenset())


SETS = st.frozensets(st.sampled_from(LETTERS))


@given(SETS, SETS, st.booleans(), st.booleans(), st.booleans())
def test_ready_means_that_something_routed_is_answered(
    served: frozenset[str],
    routed: frozenset[str],
    opened: bool,
    up: bool,
    draining: bool,
) -> None:
    ready = book.is_ready(served, routed, opened=opened, engine_up=up, draining=draining)
    assert ready == (opened and up and not draining and bool(served & (routed or served)))
