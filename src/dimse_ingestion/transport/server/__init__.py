"""The ingestion service's end of the transport: sessions of one replica, and their results.

What the messages mean is in `transport.protocol`; the proxy's end is `transport.client`.
"""
