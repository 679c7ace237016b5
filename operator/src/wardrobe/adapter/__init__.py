"""An Adapter: what is seen of it, and what its status says."""
