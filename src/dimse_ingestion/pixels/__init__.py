"""Decoding and rendering of pixel data, in worker processes that may crash.

Used below requests: DICOMweb and the ingestion service decode with it, and each maps its failures.
"""
