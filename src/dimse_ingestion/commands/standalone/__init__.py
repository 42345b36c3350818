"""Every door in one process, with an embedded NATS, a folder as bucket and SQLite.

For a first look, for small sites and for tests. The wires are the real ones: what passes here
passes through DIMSE, NATS, HTTP and files as it does in a cluster. It is no second
implementation of anything: only `running` joins what the doors offer.
"""
