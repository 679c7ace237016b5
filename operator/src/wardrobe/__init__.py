"""Wardrobe's operator. It reads resources, decides, and applies; it knows no torch.

`handlers` and `runtime` touch kopf; `kube` touches the API; `plan`, `resources` and `api` touch nothing.
"""
