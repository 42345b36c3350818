"""Benchmarks against DCMTK, pynetdicom and Orthanc (`make bench`). Not part of the product."""
