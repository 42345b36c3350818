"""Queries to the catalogue: the query, its encoding as HTTP bodies, and clients that send it.

Matching rules are in `dicom`, the answers to queries are made in `catalogue`.
"""
