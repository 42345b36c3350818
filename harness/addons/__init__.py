"""Services that the product needs in tests: NATS, an S3 store, a database, in namespace `addons`.

Each addon is installed by `installed(cluster)`, as often as needed, stores its keys in a Secret
so
that another process finds them again, and is removed by `.remove()`.
"""
