"""`make faults`: the real services under load, one thing broken at a time, then counted.

Modalities send until each instance has the status 0000. While they send, one fault happens and is
mended. Afterwards every instance with 0000 must be in the bucket with its bytes and in the
catalogue once. This package measures; the faults that must pass on each change are tests.
"""
