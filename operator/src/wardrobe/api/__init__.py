"""Typed specs and statuses: resources are parsed once, at the edge."""
