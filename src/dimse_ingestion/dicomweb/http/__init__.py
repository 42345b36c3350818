"""HTTP for DICOMweb (RFC 9110, PS3.18 section 8): media types, multipart, ranges, URLs, problems.

It knows no service: the resources are in `store`, `retrieve` and `search`.
"""
