"""Events about stored instances: the ImageStoredEvent, its CloudEvents encoding, and event sinks.

Building an event from a data set is in `operations`, recording it in `catalogue`.
"""
