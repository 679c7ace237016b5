"""Inference server."""
