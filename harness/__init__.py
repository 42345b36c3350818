"""Tools for tests: servers, modalities and faults. It imports nothing of the product.

What is here speaks DIMSE, HTTP, NATS and files, and starts the product by its command line, so
that a test sees what a user sees.
"""
