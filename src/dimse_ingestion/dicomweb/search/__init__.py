"""QIDO-RS (PS3.18 section 10.6): query parameters in, matches out.

Matching is the catalogue's.
"""
