"""Middleware around the services: admission, authentication, compression, path prefix.

It knows no DICOM resource: those are in `store`, `retrieve` and `search`.
"""
