"""Decoding, display and transcoding of pixel data, in worker processes that an image may break.

It knows no request: the services in `dicomweb.retrieve` call it.
"""
