"""Inference server: one frozen base, any number of LoRA adapters, requests as Text Generation Inference takes them.

The asyncio side (`server`, `tgi`, `chat`) parses and renders; one thread (`worker`) owns the model, steps it, and takes
orders (generate, load, unload) from a queue between steps.
"""
