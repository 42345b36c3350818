import io
from collections.abc import Callable

import pytest

from dimse_ingestion.secure_http.mounted_value import MountedValue
from dimse_ingestion.settings import MountedMissing
from tests.log_lines import lines

__all__ = ["lines"]


def reading(*values: str | None) -> Callable[[], str]:
    """Return each value in turn; None stands for a Secret that is gone."""
    left = iter(values)

    def read() -> str:
        if (value := next(left)) is None:
            raise MountedMissing("Missing Secret core-catalogue: create it.")
        return value

    return read


def test_a_value_is_read_again_when_it_is_old() -> None:
    now = [0.0]
    followed = MountedValue(reading("a", "b", "c"), lambda: now[0])
    assert [followed.value(), followed.value()] == ["a", "a"]
    now[0] = 5.1
    assert [followed.value(), followed.value()] == ["b", "b"]
    assert followed.value(max_age=1.0) == "b"
    now[0] = 6.2
    assert followed.value(max_age=1.0) == "c"


def test_the_last_value_stays_and_the_log_says_so_once(lines: io.StringIO) -> None:
    now = [0.0]
    followed = MountedValue(reading("a", None, None, "b"), lambda: now[0])
    assert followed.value() == "a"
    for now[0] in (6.0, 12.0):
        assert followed.value() == "a"
    assert lines.getvalue().count("Missing Secret core-catalogue: create it.") == 1
    now[0] = 18.0
    assert followed.value() == "b"


def test_what_never_was_is_an_error_each_time() -> None:
    followed = MountedValue(reading(None, None, "a"), lambda: 0.0)
    for _ in range(2):
        with pytest.raises(MountedMissing):
            followed.value()
    assert followed.value() == "a"
