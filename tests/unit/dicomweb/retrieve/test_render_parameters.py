import pytest

from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.retrieve.render_parameters import (
    ignored_parameters,
    rendered_parameters,
    thumbnail_parameters,
    wado_uri_parameters,
)
from dimse_ingestion.pixels.jobs import Region, Window


def test_a_window_has_center_width_and_function() -> None:
    view = rendered_parameters({"window": "40,400,LINEAR_EXACT"}, "image/png")
    assert view.window == Window(40, 400, "linear-exact")
    assert rendered_parameters({"window": "40.5,400"}, "image/png").window == Window(40.5, 400)


def test_a_viewport_has_a_size_and_a_region() -> None:
    view = rendered_parameters({"viewport": "100,200,10,20,-30,40"}, "image/jpeg")
    assert (view.size, view.region) == ((100, 200), Region(10, 20, -30, 40))
    assert rendered_parameters({"viewport": "100,200"}, "image/jpeg").region is None
    assert rendered_parameters({"viewport": "100,200,,,50,"}, "image/jpeg").region == Region(
        0, 0, 50, 0
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"window": "40"},
        {"window": "40,0"},
        {"window": "40,nan"},
        {"window": "40,400,cubic"},
        {"window": "1,2,3,4"},
        {"viewport": "100"},
        {"viewport": "0,100"},
        {"viewport": "100000,100"},
        {"viewport": "a,b"},
        {"quality": "0"},
        {"quality": "101"},
        {"quality": "high"},
    ],
)
def test_invalid_parameters_are_400_with_the_valid_form(parameters: dict[str, str]) -> None:
    with pytest.raises(Problem, match="must") as problem:
        rendered_parameters(parameters, "image/jpeg")
    assert problem.value.status == 400


@pytest.mark.parametrize(
    "parameters",
    [
        {"windowCenter": "1"},
        {"windowWidth": "1"},
        {"rows": "0"},
        {"columns": "x"},
        {"region": "0,0,1"},
        {"region": "0.5,0,0.5,1"},
        {"region": "0,0,1,2"},
        {"imageQuality": "1000"},
    ],
)
def test_invalid_parameters_of_wado_uri_are_400(parameters: dict[str, str]) -> None:
    with pytest.raises(Problem) as problem:
        wado_uri_parameters(parameters, "image/jpeg")
    assert problem.value.status == 400


def test_wado_uri_has_the_corners_of_a_region_as_fractions() -> None:
    view = wado_uri_parameters({"region": "0.25,0.5,0.75,1", "rows": "10"}, "image/jpeg")
    assert view.region is not None
    assert view.region.within(100, 200) == (25, 100, 50, 100)
    assert view.size == (8192, 10)


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        (Region(0, 0, 0, 0), (0, 0, 10, 20)),
        (Region(8, 0, 100, 0), (8, 0, 2, 20)),
        (Region(100, 100, 1, 1), (9, 19, 1, 1)),
        (Region(2, 2, -3, 4), (2, 2, -3, 4)),
    ],
)
def test_a_region_stays_within_its_image(
    region: Region, expected: tuple[int, int, int, int]
) -> None:
    assert region.within(10, 20) == expected


def test_a_thumbnail_is_200_pixels_unless_a_viewport_is_set() -> None:
    assert thumbnail_parameters({}, "image/jpeg").size == (200, 200)
    assert thumbnail_parameters({"viewport": "64,32"}, "image/jpeg").size == (64, 32)


def test_ignored_parameters_are_listed() -> None:
    assert ignored_parameters({"annotation": "patient", "iccprofile": "srgb"}) == [
        "annotation",
        "iccprofile",
    ]
    assert ignored_parameters({"window": "1,2"}) == []
