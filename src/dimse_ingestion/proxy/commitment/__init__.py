"""Storage Commitment Push Model (PS3.4 annex J) as SCP: N-ACTION, check, N-EVENT-REPORT.

A request is answered when it is durable in the journal; its references are checked by the
ingestion service, and the report goes to the requesting AE. Instances are stored and looked up by
the services behind the transport, not here.
"""
