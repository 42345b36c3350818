"""The operator's door: custom resources in, releases of the one chart out; see docs/operator.md."""
