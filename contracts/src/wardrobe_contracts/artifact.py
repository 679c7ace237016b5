"""An adapter's files in the store, and how large each may be: what agents would not copy is not published either."""

from .manifest import ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, MANIFEST_FILE
from .probes import PROBES_FILE

MOST_BYTES = {
    MANIFEST_FILE: 128 << 10,
    ADAPTER_CONFIG_FILE: 128 << 10,
    PROBES_FILE: 2 << 20,
    ADAPTER_WEIGHTS_FILE: 8 << 30,
}
"""Of each file. A manifest and a config have a few kB, and 64 probes of 2,000 tokens 1 MB: what is to be parsed is held
against this first. Rank 256 on all matrices of a model of 70B has 6.5 GB in bfloat16."""
