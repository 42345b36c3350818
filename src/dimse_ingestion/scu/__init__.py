"""The other side of DIMSE: a modality by pynetdicom, for commands that prove the product at work.

It speaks over TCP as a stranger would and shares no code with the product's own upper layer.
"""
