"""The Kubernetes operator: applies a release of the chart for each custom resource.

The chart's templates, the services and their settings are elsewhere; see docs/operator.md.
"""
