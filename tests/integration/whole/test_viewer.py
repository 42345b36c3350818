"""`standalone --viewer` as a user has it: a study that came by C-STORE, drawn in a real browser."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from pydicom import dcmread

from dimse_ingestion.commands.standalone.viewer import OHIF
from harness import scu
from tests.integration.dicomweb.browsing import Browsing, browsing, missing
from tests.integration.dicomweb.retrieved import FILES
from tests.integration.whole.standing import standing
from tests.unit.commands.standalone.packing import registry

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
PLAIN, IN_JPEG_2000 = "CT_small.dcm", "JPEG2000.dcm"
LONGEST_DRAWING = 60_000.0  # ms: scripts of 17 MB are read first
IS_DRAWN = """() => {
  const canvas = document.querySelector("canvas.cornerstone-canvas");
  if (!canvas?.width) return false;
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const grays = new Set();
  for (let at = 0; at < data.length; at += 4) grays.add(data[at]);
  return grays.size > 32;
}"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the viewer's package, as npm has it."""
    folder = tmp_path_factory.mktemp("package")
    npm = shutil.which("npm")
    if not npm:
        pytest.skip("npm is not installed: it gets the viewer's package.")
    wanted = f"{OHIF.name}@{OHIF.version}"
    got = subprocess.run(
        [npm, "pack", "--silent", "--pack-destination", str(folder), wanted],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if got.returncode:
        pytest.skip(f"The npm registry that has {wanted} is not reached: {got.stderr[-300:]}")
    return folder / OHIF.archive


@pytest.fixture
def registered(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield a registry that has the package, and that the environment names."""
    path = OHIF.address("")
    with registry({path: archive}) as address:
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", address)
        yield address


async def drawn(page: Page, name: str) -> None:
    """Open a study by its link on the page, and wait until its image is drawn."""
    head = dcmread(FILES[name], stop_before_pixels=True)
    row = page.locator("#studies li", has_text=str(head.PatientID))
    await row.get_by_role("link", name="Open in viewer").click()
    await expect(page).to_have_url(re.compile(rf"/viewer/viewer\?.*={head.StudyInstanceUID}"))
    await page.wait_for_function(IS_DRAWN, timeout=LONGEST_DRAWING)


async def test_a_study_is_drawn_by_the_viewer(tmp_path: Path, registered: str) -> None:
    data = tmp_path / "data"
    with standing(data, "--viewer") as (_, peer, address):
        sent = [FILES[PLAIN], FILES[IN_JPEG_2000]]
        assert [each.status for each in scu.store(peer, sent)] == [0, 0]
        async with browsing() as browser:
            for name in (PLAIN, IN_JPEG_2000):
                await browser.page.goto(address)
                await drawn(browser.page, name)
                await browser.page.screenshot(path=tmp_path / f"{name}.png")
            await lists(browser, address)
    assert "Downloading the viewer, once." in (tmp_path / "standalone.log").read_text()
    assert not list(data.rglob("*.tgz"))


async def lists(browser: Browsing, address: str) -> None:
    """Assert that the viewer lists the study, and that no other host got a request."""
    page = browser.page
    await page.goto(f"{address}/viewer/")
    name = str(dcmread(FILES[PLAIN], stop_before_pixels=True).PatientName)
    await expect(page.get_by_text(name.partition("^")[0]).first).to_be_visible(
        timeout=LONGEST_DRAWING
    )
    assert all(each.startswith((address, "blob:", "data:")) for each in browser.requested_urls)


async def test_without_the_option_nothing_leads_to_a_viewer(tmp_path: Path) -> None:
    with standing(tmp_path / "data") as (_, peer, address):
        assert [each.status for each in scu.store(peer, [FILES[PLAIN]])] == [0]
        async with browsing() as browser:
            await browser.page.goto(address)
            await expect(browser.page.locator(".study")).to_have_count(1)
            await expect(browser.page.get_by_text("Open in viewer")).to_have_count(0)
            answer = await browser.page.request.get(f"{address}/viewer/")
            assert answer.status == 404
