"""The charts as tests and their generated documents see them; needs no helm binary, no cluster."""

from pathlib import Path

_CHARTS = Path(__file__).resolve().parents[2] / "charts"
CHART = _CHARTS / "dimse-ingestion"
OPERATOR_CHART = _CHARTS / "dimse-ingestion-operator"
