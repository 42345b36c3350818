"""Decoding, rendering and transcoding of pixel data, in worker processes that may crash.

Nothing here handles requests: the services in `dicomweb.retrieve` do.
"""
