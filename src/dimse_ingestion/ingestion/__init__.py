"""The ingestion service: runs `operations` for the requests that `transport` delivers.

Storing and finding are `operations`, sessions and flow control are `transport.server`.
"""
