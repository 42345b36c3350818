"""The DICOMweb service (PS3.18): STOW-RS, QIDO-RS and WADO-RS for one storage space.

It translates HTTP; storing and searching are in `operations`, which the DIMSE services use too.
"""
