"""The DICOM upper layer as an acceptor: associations, PDUs and command sets (PS3.8, PS3.7).

It hands complete requests to a `services.Services`; what a request does is decided there.
"""
