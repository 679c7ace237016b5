"""An AdapterDeployment: what is seen of it, what is decided, and what its status says."""
