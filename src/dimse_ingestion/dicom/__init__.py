"""DICOM data: elements, parsing, encoding, character sets, matching and pixel layout.

Networking is in `upper_layer`, storage in `storage`.
"""
