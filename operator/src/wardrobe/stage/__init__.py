"""A stage of a run or of a base, and its attempts: their Jobs and pods, the record of them, how each ended."""
