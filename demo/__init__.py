"""The hospital's story, told on a real cluster by the commands that a user would type. `make demo` runs it.

It knows of Wardrobe what a user knows: the examples' YAML, kubectl, Helm, HTTP.
"""
