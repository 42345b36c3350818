"""A real browser for tests of the page: Debian's Chromium, headless, with an empty profile."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from playwright.async_api import ConsoleMessage, Page, async_playwright

_CHROMIUM = shutil.which("chromium") or ""
_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
DESKTOP, PHONE = (1280, 800), (360, 740)


@dataclass
class Browsing:
    """A page in a browser; `mistakes` are script errors and violations of its policy."""

    page: Page
    mistakes: list[str] = field(default_factory=list)
    requested_urls: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Collect mistakes and the requested URLs."""
        self.page.on("pageerror", lambda error: self.mistakes.append(str(error)))
        self.page.on("console", self._collect_violation)
        self.page.on("request", lambda request: self.requested_urls.append(request.url))

    def _collect_violation(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "Trusted" in message.text:
            self.mistakes.append(message.text)


def missing() -> str:
    """Return why no browser can be started; empty if one can."""
    return "" if _CHROMIUM else "Debian's package chromium is not installed."


@asynccontextmanager
async def browsing(size: tuple[int, int] = DESKTOP) -> AsyncIterator[Browsing]:
    """Yield a browser with one page; fails at its end when the page made a mistake."""
    width, height = size
    async with async_playwright() as playwright:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            context = await playwright.chromium.launch_persistent_context(
                profile,
                executable_path=_CHROMIUM,
                args=_FLAGS,
                viewport={"width": width, "height": height},
                has_touch=size == PHONE,
                is_mobile=size == PHONE,
            )
            context.set_default_timeout(20_000)
            browsed = Browsing(context.pages[0])
            browsed.listen()
            try:
                yield browsed
            finally:
                await context.close()
    assert browsed.mistakes == []
