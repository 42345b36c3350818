"""The demo: shows the product at work on one machine, which a newcomer runs first.

It is the modality (by pynetdicom, a DIMSE user that is not ours) of a `standalone` in a process of
its own. It sends, queries and compares; it serves nothing and stores nothing.
"""
