"""The proxy between modalities and NATS: admission, request forwarding, readiness and drain.

Image data is stored by `ingestion`; this package has no access to bucket or catalogue.
"""
