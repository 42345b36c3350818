"""Buckets for stored objects: S3 and Azure through obstore, a folder, and memory.

The DICOM content of objects is not known here, except the UIDs in an instance's key.
"""
