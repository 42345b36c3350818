"""A kind cluster from package registries alone: Go modules and Debian packages, no image registry.

For hospitals whose networks have package mirrors only, and for build machines like them. Everything
is in one cache folder, so that only the first time takes long. docs/airgap.md describes it.
"""
