"""A FineTuneJob: what is seen of it, what is decided, what is built for it, and what its status says."""
