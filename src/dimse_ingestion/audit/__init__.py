"""The audit trail: who moved, read or was refused which patient's studies (PS3.15 A.5 to A.7).

Its messages name patients, and so never go to the log. Services tell it what happened; it puts the
messages into a durable queue, and sends them to an audit record repository by syslog.
"""
