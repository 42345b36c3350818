"""Decoding of pixel data in worker processes that may crash, and rendering there or in a thread.

Used below requests: DICOMweb and the ingestion service decode with it, and each maps its failures.
"""
