"""Engines' own words in their error answers."""

import json


def error_message(body: bytes) -> str:
    """TGI's `{"error": text}` or OpenAI's `{"error": {"message": text}}`."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body[:500].decode(errors="replace")
    return str(error["message"] if isinstance(error, dict) and "message" in error else error)[:500]
