"""E-mail addresses, bank accounts, payment cards, Swiss insurance numbers; numbers only whose check digits fit."""

import re

from wardrobe_contracts.rules import Level, RuleName

from ..dataset import Row
from .rule import Evidence, Found, Rule, share

PLACE = 1
_DIGITS = "0123456789"
FEWEST_OF_IBAN, FEWEST_OF_CARD = 2, 13
"""Digits: a text of fewer is not searched."""
EMAIL = re.compile(r"\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,4}[A-Za-z]{2,24}\b")
IBAN = re.compile(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
CARD = re.compile(r"(?<![\w.,-])[0-9](?:[ -]?[0-9]){12,18}(?![\w-]|[.,][0-9])")
INSURED = re.compile(r"\b756[. ]?[0-9]{4}[. ]?[0-9]{4}[. ]?[0-9]{2}\b")


def scan(row: Row) -> bool:
    """Whether any message has some."""
    return any(_is_in(message["content"]) for message in row.messages)


def _is_in(text: str) -> bool:
    if "@" in text and EMAIL.search(text):
        return True
    digits = sum(map(text.count, _DIGITS))
    return (
        (digits >= FEWEST_OF_IBAN and any(is_iban(found) for found in IBAN.findall(text)))
        or (digits >= FEWEST_OF_CARD and any(is_card(found) for found in CARD.findall(text)))
        or (digits >= FEWEST_OF_CARD and any(is_insured(found) for found in INSURED.findall(text)))
    )


def is_iban(text: str) -> bool:
    """Of an account: moved around and read as a number it leaves 1 when divided by 97 (ISO 13616, ISO 7064)."""
    plain = text.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(digit, 36)) for digit in plain[4:] + plain[:4])) % 97 == 1


def is_card(text: str) -> bool:
    """Of a payment card (ISO/IEC 7812-1, Luhn's check digit); not one digit again and again."""
    digits = _digits(text)
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def is_insured(text: str) -> bool:
    """Of a person insured in Switzerland (AHV): thirteen digits whose check digit is EAN-13's."""
    digits = _digits(text)
    return (sum(digits[::2]) + 3 * sum(digits[1::2])) % 10 == 0


def _digits(text: str) -> list[int]:
    return [int(character) for character in text if character.isdigit()]


def look(evidence: Evidence, _: float) -> Found:
    """Share of all rows."""
    rows = evidence.flagged(PLACE)
    found = int(rows.sum())
    return Found(
        measured=share(found, len(rows)),
        says=f"{found} rows seem to have e-mail addresses or numbers of accounts, cards or insured persons in them",
        next_step="Take them out, or replace them by invented ones",
        rows=rows,
    )


RULE = Rule(RuleName.PERSONAL_DATA, Level.WARN, 0, look, scan=scan)
