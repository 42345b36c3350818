"""Where whole data sets wait between a peer that sends them and what takes them on.

Shared by the doors that must know a data set's digest before they hand it on. It looks into no
data set and knows no wire.
"""
