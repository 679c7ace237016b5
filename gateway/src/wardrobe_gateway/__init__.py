"""The serving path: `wardrobe-agent` in every engine pod, and `wardrobe-router` before them. It knows no torch.

`agent` and `router` know nothing of each other but the contracts; both are built on `process` and know `engines`.
"""
