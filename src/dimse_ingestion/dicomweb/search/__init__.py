"""QIDO-RS (PS3.18 section 10.6): parses query parameters and returns matches.

The catalogue does the matching, by `queries`.
"""
