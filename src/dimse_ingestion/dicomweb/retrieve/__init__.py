"""WADO-RS and WADO-URI (PS3.18 sections 9, 10.4): instances, metadata, frames, bulk data, images.

Objects are read by `operations.retrieve`, and pixels are decoded by `pixels`.
"""
