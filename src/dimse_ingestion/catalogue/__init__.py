"""The catalogue service: records ImageStoredEvents in a SQL database and answers queries from it.

Clients of the service are in `events` and `queries`; pixels and objects stay in the bucket.
"""
