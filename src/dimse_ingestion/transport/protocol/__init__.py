"""The wire protocol of transport v1 without input or output: messages, codec, state machines.

No socket and no clock: NATS is in `transport.nats`, the drivers in `transport.client` and `server`.
"""
