"""Keys, tokens and passwords. What is trained on can be asked for, by everybody who may ask the adapter."""

import re

from wardrobe_contracts.rules import Level, RuleName

from ..dataset import Row
from .rule import Evidence, Found, Rule, share

PLACE = 0
_MARKED = (
    (("PRIVATE KEY-----",), r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    (("AKIA", "ASIA"), r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),  # AWS
    (("gho_", "ghp_", "ghr_", "ghs_", "ghu_"), r"\bgh[oprsu]_[A-Za-z0-9]{36}"),
    (("github_pat_",), r"\bgithub_pat_\w{50}"),
    (("xox",), r"\bxox[abprs]-[A-Za-z0-9-]{10}"),  # Slack
    (("AIza",), r"\bAIza[0-9A-Za-z_-]{35}"),  # Google
    (("sk-",), r"\bsk-[A-Za-z0-9_-]{20}"),  # OpenAI, Anthropic
    (("eyJ",), r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),  # JSON Web Tokens (RFC 7519)
)
"""Forms that their makers document, each with what it cannot be without: a text is searched for that first, since
looking for all forms everywhere takes a third as long as the tokenizer."""
_NAMED = r"(?i:\b(?:password|passwd|api[ _-]?key|secret|token)\s{0,3}[:=]\s{0,3}(?=\S*[0-9])[^\s,;]{8,})"
"""What is called a secret, of at least eight characters, one of them a digit."""
_NAMES = ("passw", "key", "secret", "token")
SECRET = re.compile("|".join([*(form for _, form in _MARKED), _NAMED]))


def scan(row: Row) -> bool:
    """Whether any message has one."""
    return any(_may_have(message["content"]) and SECRET.search(message["content"]) for message in row.messages)


def _may_have(text: str) -> bool:
    if any(mark in text for marks, _ in _MARKED for mark in marks):
        return True
    if ":" not in text and "=" not in text:
        return False
    folded = text.casefold()
    return any(name in folded for name in _NAMES)


def look(evidence: Evidence, _: float) -> Found:
    """Share of all rows."""
    rows = evidence.flagged(PLACE)
    found = int(rows.sum())
    return Found(
        measured=share(found, len(rows)),
        says=f"{found} rows seem to have keys, tokens or passwords in them, which an adapter would tell whoever asks",
        next_step="Take them out, and replace them where they are used: who read the file knows them. If they are "
        "none, set the rule's level to Warn",
        rows=rows,
    )


RULE = Rule(RuleName.SECRETS, Level.FAIL, 0, look, scan=scan)
