"""Text in pieces is the text as a whole."""

from hypothesis import given, settings
from hypothesis import strategies as st
from support.gauntlet import TIMES
from tokenizers import Tokenizer

from wardrobe_engine.text import StopFinder, TextStream

from .conftest import MODEL

TOKENIZER = Tokenizer.from_file(str(MODEL / "tokenizer.json"))


@given(st.text(max_size=40))
@settings(max_examples=200 * TIMES, deadline=None)
def test_pieces_make_the_text_and_never_half_a_character(text: str) -> None:
    text = text.replace("\ufffd", "")
    ids = TOKENIZER.encode(text, add_special_tokens=False).ids
    stream = TextStream(TOKENIZER, TOKENIZER.encode("Hello ", add_special_tokens=False).ids)
    pieces = [stream.push(token) for token in ids]
    assert not any("\ufffd" in piece for piece in pieces)
    assert "".join(pieces) + stream.flush() == TOKENIZER.decode(ids)


def test_an_emoji_comes_when_it_is_complete() -> None:
    ids = TOKENIZER.encode("a🫀", add_special_tokens=False).ids
    stream = TextStream(TOKENIZER, [])
    pieces = [stream.push(token) for token in ids]
    assert pieces[0] == "a"
    assert pieces[1:-1] == [""] * (len(ids) - 2)
    assert len(ids) > 3
    assert pieces[-1] == "🫀"


def test_bytes_that_never_become_a_character_are_replaced_at_the_end() -> None:
    ids = TOKENIZER.encode("a🫀", add_special_tokens=False).ids
    stream = TextStream(TOKENIZER, [])
    assert [stream.push(token) for token in ids[:-1]] == ["a", *[""] * (len(ids) - 2)]
    assert set(stream.flush()) == {"\ufffd"}


PIECES = st.lists(st.text(alphabet="ab<|", max_size=4), max_size=12)
STOPS = st.lists(st.text(alphabet="ab<|", min_size=1, max_size=4), max_size=3)


@given(PIECES, STOPS)
def test_a_stop_string_is_found_wherever_pieces_break(pieces: list[str], stops: list[str]) -> None:
    finder, text = StopFinder(tuple(stops)), ""
    for piece in pieces:
        text += piece
        cut = finder.push(piece)
        begins = [text.find(stop) for stop in stops if stop in text]
        if begins:
            assert cut is not None
            assert cut[0] == min(begins)
            assert text[slice(*cut)] in stops
            return
        assert cut is None


@given(PIECES, STOPS)
def test_settled_text_never_belongs_to_a_stop_string(pieces: list[str], stops: list[str]) -> None:
    finder, text, settled = StopFinder(tuple(stops)), "", 0
    for piece in pieces:
        text += piece
        if cut := finder.push(piece):
            assert settled <= cut[0]
            return
        settled = finder.settled()
        assert len(text) - settled < max(map(len, stops), default=1)
