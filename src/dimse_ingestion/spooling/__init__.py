"""The spool: data sets wait here, in memory or in files, until their operation has its result.

Used by services that must know a data set's digest before they send it on. It parses no data set
and knows no protocol.
"""
