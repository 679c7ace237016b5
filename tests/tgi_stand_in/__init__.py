"""A stand-in for Text Generation Inference 3.3.7: its launcher, router and shard, with the embedded engine's model.

`bin/text-generation-launcher` reads TGI's environment and nothing else. What it imitates stands in `facts`, each with
TGI's file and line or "seen" (on the real one). tests/tgi holds both to the same tests, and the real one is right.
"""
