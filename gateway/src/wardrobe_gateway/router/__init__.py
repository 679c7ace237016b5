"""The router: from a department's key to the adapter that is routed, on a replica that has proved it."""
