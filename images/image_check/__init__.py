"""Builds the members' images without a daemon and a registry, looks into them and starts them: `make images-check`."""
