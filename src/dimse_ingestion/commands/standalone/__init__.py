"""All services in one process, with an embedded NATS, a folder as bucket and SQLite.

For a first look, for small sites and for tests. The protocols are the real ones: requests pass
through DIMSE, NATS, HTTP and files as they do in a cluster. No service is implemented a second
time here: `run` only joins what the services offer.
"""
