"""Opening hours, telephone numbers and prices in answers: they change, an adapter does not. They are for retrieval."""

import re
from collections.abc import Iterator

from wardrobe_contracts.rules import Level, RuleName

from ..dataset import LEARNT, Row
from .rule import Evidence, Found, Rule, share

PLACE = 2
_CLOCK = r"[0-2]?[0-9](?:[:.][0-5][0-9])?"
_DIGITS = re.compile("[0-9]+")
_REACH = 64
"""Characters: no form goes on for more before its first digit, after its last, or between two."""
_HALF = r"(?:[ap]\.?m\b\.?|o'clock|Uhr\b)"
BY_DIGITS = (
    rf"\b{_CLOCK}\s?{_HALF}?\s?(?:-|\u2013|to|until|bis)\s?{_CLOCK}\s?{_HALF}"  # 9 am to 5 pm
    r"|\b[0-2]?[0-9]:[0-5][0-9]\s?(?:-|\u2013|to|until|bis)\s?[0-2]?[0-9]:[0-5][0-9]\b"  # 09:00-17:00
    r"|(?<![\w+])\+[1-9][0-9]{0,2}(?:[ .()/-]{0,2}[0-9]){7,12}(?![0-9])"  # +41 44 123 45 67 (ITU-T E.164)
    r"|(?<![\w.-])(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}(?![\w-])"  # NANP
    r"|[$€£]\s?[0-9]"
    r"|\b[0-9]+(?:[.,][0-9]+)?\s?(?:€|CHF\b|EUR\b|USD\b|GBP\b|(?i:euros?|dollars?|francs?|Franken)\b)"
)
BY_WORDS = (
    r"(?i:(?:phone|telephone|tel|call|dial|fax)\b[^\w+]{0,3}(?:us |at |on |number )?\+?[0-9](?:[ ()/-]?[0-9]){6,14})"
    r"|(?:CHF|EUR|USD|GBP)\s?[0-9]"
)
PERISHABLE = re.compile(rf"(?=[0-9+($€£])(?:{BY_DIGITS})|\b(?=[PpTtCcDdFfEUG])(?:{BY_WORDS})")
"""At each character what a form begins with is looked for first: to try all of them there takes three times as long."""


def scan(row: Row) -> bool:
    """Whether any answer has some; a question may."""
    answers = (message["content"] for message in row.messages if message["role"] in LEARNT)
    return any(PERISHABLE.search(part) for answer in answers for part in _near_digits(answer))


def _near_digits(text: str) -> Iterator[str]:
    """The parts of a text in which a fact could be: all forms have digits."""
    first = last = -1
    for found in _DIGITS.finditer(text):
        if first < 0 or found.start() > last + 2 * _REACH:
            if first >= 0:
                yield text[max(0, first - _REACH) : last + _REACH]
            first = found.start()
        last = found.end()
    if first >= 0:
        yield text[max(0, first - _REACH) : last + _REACH]


def look(evidence: Evidence, _: float) -> Found:
    """Share of all rows."""
    rows = evidence.flagged(PLACE)
    found = int(rows.sum())
    return Found(
        measured=share(found, len(rows)),
        says=f"{found} rows seem to have opening hours, telephone numbers or prices in their answers, which an adapter "
        "tells long after they have changed",
        next_step="Leave such facts to retrieval: write answers that point to where they are kept",
        rows=rows,
    )


RULE = Rule(RuleName.PERISHABLE_FACTS, Level.WARN, 0, look, scan=scan)
