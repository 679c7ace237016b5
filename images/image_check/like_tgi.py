#!/usr/src/.venv/bin/python3
"""Stands for `text-generation-launcher` in an image that hides its Python as TGI's own does: it listens, and ends."""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Answers(BaseHTTPRequestHandler):
    """Who runs it, at every path."""

    def do_GET(self) -> None:
        """http.server's name for it."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"user {os.getuid()}, python {sys.executable}".encode())


def main() -> None:
    """Until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answers).serve_forever()


if __name__ == "__main__":
    main()
