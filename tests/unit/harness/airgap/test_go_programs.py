from pathlib import Path

import pytest

from harness.airgap import go_programs, pins
from harness.airgap.cache import Cache


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    empty = Cache(tmp_path)
    empty.programs.mkdir()
    return empty


def placed(cache: Cache, name: str, built_from: str | None) -> None:
    cache.program(name).write_text("")
    cache.program(name).chmod(0o755)
    if built_from is not None:
        (cache.programs / f".{name}.built-from").write_text(built_from)


@pytest.mark.parametrize("name", ["kind", "kubernetes"])
def test_a_program_exists_while_its_pin_stands(cache: Cache, name: str) -> None:
    assert not go_programs.is_built(cache, name)
    placed(cache, name, go_programs.source(name))
    assert go_programs.is_built(cache, name)
    placed(cache, name, "an older pin")
    assert not go_programs.is_built(cache, name)


def test_one_that_somebody_else_brought_is_taken(cache: Cache) -> None:
    placed(cache, "helm", None)
    assert go_programs.is_built(cache, "helm")
    assert go_programs.install(cache, "helm") == cache.program("helm")


def test_what_the_node_runs_is_known_by_its_source() -> None:
    assert len({go_programs.source(name) for name in go_programs.NODE_PROGRAMS}) == 1
    assert go_programs.source("helm") == pins.PROGRAMS["helm"]
