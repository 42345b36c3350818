"""The proxy's end of the transport: attempts, retries, back-off, and the stream of a C-FIND.

What the messages mean is in `transport.protocol`; the replica's end is `transport.server`.
"""
