"""Several processes of one service under one supervisor, for a service's setting `workers`.

What a worker does is its service's; this package starts it, and adds up what all workers count.
"""
