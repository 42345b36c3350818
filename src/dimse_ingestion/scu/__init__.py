"""A DIMSE service class user (modality) on pynetdicom, for the commands that test an installation.

It connects over TCP like any modality and shares no code with the product's own upper layer.
"""
