"""What every program of the gateway is built on: it follows routes, says how it stands, and ends when told to.

A program is its settings, its handlers and its metrics; `program` has what it must offer, and runs it.
"""
