"""The NATS client: connections, TLS, credentials, subscriptions, and reconnecting.

It carries bytes on subjects; what they mean is in `transport.protocol`.
"""
