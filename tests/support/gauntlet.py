"""Whether this is `make gauntlet`: it tries ten times as much, for hours, and other examples each time.

Everywhere else the examples of property tests are the same in each run of the same code: what passes here passes in CI,
and what is new is looked for where somebody waits for it.
"""

import os

from hypothesis import settings

GAUNTLET = bool(os.environ.get("WARDROBE_GAUNTLET"))
TIMES = 10 if GAUNTLET else 1

settings.register_profile("wardrobe", derandomize=not GAUNTLET, deadline=None)
settings.load_profile("wardrobe")
