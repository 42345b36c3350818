"""HTTP between services: TLS by a CA of one's own, bearer tokens, and the failures of a peer.

What is sent and answered is not here: see `events`, `queries` and `catalogue`.
"""
