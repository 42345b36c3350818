"""Storage and query of DICOM objects in a cloud bucket: DIMSE proxy, services and operator."""
