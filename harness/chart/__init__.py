"""The chart as tests and its generated documents see it; needs no helm binary and no cluster."""

from pathlib import Path

CHART = Path(__file__).resolve().parents[2] / "charts" / "dimse-ingestion"
