"""The transport between proxy and ingestion service: DIMSE operations as messages over NATS.

It carries requests, data sets and results; what an operation does is in `operations`.
"""
