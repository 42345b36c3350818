"""DICOM operations on a storage space: C-STORE, C-FIND, C-ECHO and the reading of stored objects.

They use `storage`, `events` and `queries`, and know neither transport, HTTP nor upper layer.
"""
