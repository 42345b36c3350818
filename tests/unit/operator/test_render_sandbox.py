"""What a spec's templates may take is bounded, and who has none doesn't wait for them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dimse_ingestion.operator.render import Renderer, chart_folder
from dimse_ingestion.operator.render_sandbox import (
    RenderingFailed,
    SandboxedRenderer,
    open_renderer,
)
from dimse_ingestion.operator.values import SpecMistake, Values
from dimse_ingestion.settings import ConfigurationMistake
from tests.unit.operator.resources import resource
from tests.unit.operator.test_render import values

EVER = "{{ range until 100000 }}{{ range until 20000 }}{{ end }}{{ end }}"
EVERYTHING = "{{ until 1000000000 | len }}"
CIRCLE = "apiVersion: v1\nkind: A\nmetadata: {name: a}\ndata: &a [*a]"


def aliases(levels: int) -> str:
    """Return a million of something for each six levels."""
    lines = [
        f"  a{each + 1}: &a{each + 1} [{', '.join([f'*a{each}'] * 10)}]" for each in range(levels)
    ]
    head = "apiVersion: v1\nkind: A\nmetadata: {name: a}\ndata:\n  a0: &a0 [123456789]"
    return "\n".join([head, *lines])


@pytest.fixture
async def renderer() -> AsyncIterator[SandboxedRenderer]:
    async with open_renderer(chart_folder()) as started:
        yield started


def extra(text: str) -> Values:
    return values(values={"extraObjects": [f"{text}\n"]})


def saying(text: str) -> Values:
    return extra(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{a: '{text}'}}")


async def test_it_gives_what_is_rendered_here(renderer: SandboxedRenderer) -> None:
    here = Renderer(chart_folder()).render(resource(), values())
    assert await renderer.render(resource(), values()) == here


async def test_what_the_chart_does_not_take_is_reported(renderer: SandboxedRenderer) -> None:
    with pytest.raises(SpecMistake, match="natsUrl is missing"):
        await renderer.render(resource(), values(natsUrl=""))


@pytest.mark.parametrize(
    ("spec_values", "message"),
    [
        (saying(EVER), "not rendered within 5 s"),
        (saying(EVERYTHING), "more than 128 MiB to render"),
        (extra(aliases(6)), "are more than 8 MiB"),
        (extra(aliases(9)), r"not rendered|too large|128 MiB"),
        (extra(CIRCLE), "Circular"),
    ],
    ids=["for ever", "all memory", "long", "too long", "circle"],
)
async def test_a_template_without_end_is_ended_and_reported(
    renderer: SandboxedRenderer, spec_values: Values, message: str
) -> None:
    with pytest.raises(SpecMistake, match=message):
        await renderer.render(resource(), spec_values)
    assert await renderer.render(resource(), saying("x"))


async def test_who_has_no_templates_does_not_wait(renderer: SandboxedRenderer) -> None:
    slow = asyncio.create_task(renderer.render(resource(), saying(EVER)))
    for _ in range(3):
        assert await renderer.render(resource(), values())
    assert not slow.done()
    await _cancelled(slow)


async def test_one_that_is_given_up_answers_no_other(renderer: SandboxedRenderer) -> None:
    given_up = asyncio.create_task(renderer.render(resource(), saying("given up")))
    await asyncio.sleep(0)
    await _cancelled(given_up)
    objects = await renderer.render(resource(), saying("other"))
    assert [each["data"] for each in objects if each["kind"] == "ConfigMap"] == [{"a": "other"}]


async def test_one_that_is_killed_is_started_again(renderer: SandboxedRenderer) -> None:
    await renderer.render(resource(), saying("x"))
    slow = asyncio.create_task(renderer.render(resource(), saying(EVER)))
    await asyncio.sleep(0)  # the request is sent before the process is killed
    for pid in _children():
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(RenderingFailed, match="status -9"):
        await slow
    assert await renderer.render(resource(), saying("x"))
    assert await renderer.render(resource(), values())


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _children() -> list[int]:
    threads = Path("/proc/self/task").glob("*/children")
    return [int(pid) for each in threads for pid in each.read_text().split()]


async def test_what_is_no_chart_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationMistake):
        async with open_renderer(tmp_path):
            pass
