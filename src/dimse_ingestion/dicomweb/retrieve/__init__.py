"""WADO-RS and WADO-URI (PS3.18 sections 9, 10.4): instances, metadata, frames, bulk data, images.

Reading the bucket is `operations.retrieve`; decoding pixels is `dicomweb.pixels`.
"""
