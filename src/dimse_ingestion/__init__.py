"""DIMSE into the cloud: a proxy in the hospital, NATS, and an ingestion service on a bucket."""
