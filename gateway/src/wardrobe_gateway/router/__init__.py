"""The router: from a department's key to the version that is routed, on a replica that has proved it."""
