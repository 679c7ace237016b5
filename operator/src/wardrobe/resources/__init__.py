"""Pure builders of manifests: one file per thing that is built."""
