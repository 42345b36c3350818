"""Read logged lines as an operator sees them; a fixture for the tests of several packages."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from dimse_ingestion.observability.logging import configure


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Yield the log's lines."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    out = io.StringIO()
    configure("proxy", stream=out)
    yield out
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
