"""STOW-RS (PS3.18 section 10.5): uploads of files, and of metadata with bulk data.

Storing itself, bucket and event, is `operations.store`.
"""
