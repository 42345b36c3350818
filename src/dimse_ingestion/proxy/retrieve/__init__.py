"""C-MOVE and C-GET at the proxy: sub-operations, their counts, and the data sets fetched for them.

How a sub-operation reaches its receiver is a `sender.SubOperationSender`.
"""
