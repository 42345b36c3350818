"""Readiness of a proxy with several storage spaces: it is ready while one of them is.

A space that can't reach its cloud answers its own requests with A700. Were the whole proxy not
ready then, Kubernetes would take it from its Service, and the other spaces with it. So /readyz has
the sentences of each space, and fails only when every space fails.
"""

from collections.abc import Mapping
from functools import partial

from dimse_ingestion.observability import metrics, probes


class SpaceHealth:
    """Gives each space a health of its own, and summarizes them in the process's."""

    def __init__(self, process: probes.Health, *, is_alone: bool) -> None:
        self._process = process
        self._is_alone = is_alone
        self._spaces: dict[str, probes.Health] = {}
        if not is_alone:
            process.add("spaces", self._problem_of_all)

    def add(self, title: str, health: probes.Health | None = None) -> probes.Health:
        """Return the health for a space's checks; that of the process if there is one space.

        `health` is that of a space that was removed, and is added again.
        """
        if self._is_alone:
            return self._process
        health = self._spaces[title] = health or probes.Health(f"space {title}")
        self._process.add_note(f"space {title}", partial(self._sentence, title))
        return health

    def remove(self, title: str) -> probes.Health | None:
        """Forget a space, and return its health, if it is known."""
        health = self._spaces.pop(title, None)
        if health is not None:
            self._process.remove_note(f"space {title}")
            metrics.proxy_space_ready.remove(title)
        return health

    async def _sentence(self, title: str) -> str:
        problems = await self._problems(title)
        health = self._spaces.get(title)
        return _joined({**problems, **(await health.notes() if health else {})})

    async def _problem_of_all(self) -> str:
        problems = [await self._problems(title) for title in list(self._spaces)]
        return "No storage space is ready." if problems and all(problems) else ""

    async def _problems(self, title: str) -> Mapping[str, str]:
        health = self._spaces.get(title)
        problems = {} if health is None else await health.problems()
        metrics.proxy_space_ready.labels(title).set(not problems)
        return problems


def _joined(problems: Mapping[str, str]) -> str:
    return " ".join(f"{name}: {problem}" for name, problem in problems.items())
