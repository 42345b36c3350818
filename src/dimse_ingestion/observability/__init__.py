"""Logs, metrics, traces, probes and the stop signal, which every service has in common.

No service and nothing of DICOM, NATS, HTTP clients or storage is implemented here.
"""
