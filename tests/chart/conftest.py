"""Each shipped values file, rendered: what is claimed of manifests is claimed of them all."""

import pytest

from harness.chart.rendering import Rendering, rendered, shipped_values, values_files


@pytest.fixture(params=sorted(values_files()))
def rendering(request: pytest.FixtureRequest) -> Rendering:
    """Return a rendering of one values file of `ci/` or `examples/`."""
    return rendered(shipped_values(request.param))
