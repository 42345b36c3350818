"""The product shown at work on one machine: what a newcomer runs first.

A modality's part (a DIMSE user that is not ours: pynetdicom), played against `standalone` in a
process of its own, as a stranger would. It proves and tells; it serves nothing and stores nothing.
"""
