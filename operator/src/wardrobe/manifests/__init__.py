"""What manifests of all kinds are built with."""
