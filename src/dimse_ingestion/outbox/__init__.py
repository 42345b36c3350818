"""The outbox: data sets that were answered with success and wait to be forwarded, durable on disk.

It knows neither DIMSE nor NATS: what is to be sent is bytes with metadata. The forwarder that
empties it is `proxy.forwarder`.
"""
