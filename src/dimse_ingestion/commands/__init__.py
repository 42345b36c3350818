"""The commands of the command line: check, prove, reindex, demo, standalone.

The services have packages of their own; `cli` parses the arguments.
"""
