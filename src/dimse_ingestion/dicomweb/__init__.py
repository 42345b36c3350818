"""The DICOMweb ingestion service (PS3.18): STOW-RS, QIDO-RS, WADO-RS on one storage space.

A door: HTTP in front, `operations` behind. It stores and finds as DIMSE does, by the same verbs.
"""
