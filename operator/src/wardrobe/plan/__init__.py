"""Pure decisions: from a resource and what was observed to a plan. One file per kind."""
