"""What must survive the end of the process and of power: files, and records with checksums.

The outbox and the journal of storage commitment are built on it; what they keep is theirs.
"""
