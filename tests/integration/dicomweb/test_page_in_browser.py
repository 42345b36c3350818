"""The page as a user sees it, in a real browser."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from pydicom import dcmread
from pydicom.uid import generate_uid

from dimse_ingestion.events.contract import InstanceOrigin
from tests.instances import event
from tests.integration.dicomweb.browsing import PHONE, Browsing, browsing, missing
from tests.integration.dicomweb.conftest import Space, space_in
from tests.integration.dicomweb.prefixing import below
from tests.integration.dicomweb.retrieved import FILES
from tests.unit.dicomweb.tokens import AUDIENCE, ISSUER, SigningKey, issuer, token

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]
IMAGES = 3
ORIGIN = InstanceOrigin("CT1", "DICOM-INGEST", "ward7", "10.1.2.3", "2026-01-02T03:04:05Z")
MARKUP = "<h2>Jane</h2><script>document.title.taken()</script>"
MULTI_FRAME, NO_IMAGE = "SC_rgb_rle_2frame.dcm", "rtplan.dcm"


def series_in(folder: Path, name: str, patient: str, patient_id: str) -> list[Path]:
    """Return a series of images made of one file, in a study of its own."""
    study, series = generate_uid(), generate_uid()
    paths = []
    for number in range(1, IMAGES + 1):
        image = dcmread(FILES[name])
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.PatientName, image.PatientID, image.InstanceNumber = patient, patient_id, number
        paths.append(folder / f"{patient_id}-{number}.dcm")
        image.save_as(paths[-1])
    return paths


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shown(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Space]:
    folder = tmp_path_factory.mktemp("page")
    async with space_in(folder / "space") as opened:
        for path in series_in(folder, "CT_small.dcm", "Doe^Jane", "J1"):
            await opened.store(path, ORIGIN)
        for path in (
            *series_in(folder, "MR_small.dcm", MARKUP, "M1"),
            FILES[MULTI_FRAME],
            FILES[NO_IMAGE],
        ):
            await opened.store(path)
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def browser() -> AsyncIterator[Browsing]:
    async with browsing() as opened:
        yield opened


async def opened_at(page: Page, patient_id: str) -> None:
    """Open the study of a patient, by the filter."""
    await page.get_by_label("Patient ID").fill(patient_id)
    await page.keyboard.press("Enter")
    await expect(page.locator(".study")).to_have_count(1)
    await page.locator(".study").click()


async def width_of_picture(page: Page) -> int:
    """Return the width in pixels of the picture that is shown; fails when none is."""
    await expect(page.locator("#image")).to_be_visible()
    width: int = await page.locator("#image").evaluate("image => image.naturalWidth")
    return width


async def test_studies_are_shown_with_thumbnails(shown: Space, browser: Browsing) -> None:
    page = browser.page
    await page.goto(shown.address)
    await expect(page.locator(".study")).to_have_count(4)
    jane = page.locator(".study", has_text="Doe, Jane")
    await expect(jane).to_contain_text("2004-01-19")
    await expect(jane).to_contain_text(f"1 series, {IMAGES} instances")
    await expect(jane.locator(".modality")).to_have_text("CT")
    await expect(jane.locator(".thumbnail img")).to_be_visible()
    plan = page.locator(".study", has_text="RTPLAN")
    await expect(plan.locator(".thumbnail.none")).to_have_text("RTPLAN")
    assert all(each.startswith((shown.address, "blob:")) for each in browser.requested_urls)


async def test_the_filter_finds_and_is_cleared(shown: Space, browser: Browsing) -> None:
    page = browser.page
    await page.goto(shown.address)
    for label, typed in (("Patient", "doe, j"), ("Patient ID", "J"), ("From", "2004-01-19")):
        await page.get_by_label(label, exact=True).fill(typed)
    await page.get_by_role("button", name="Find").click()
    await expect(page.locator(".study")).to_have_count(1)
    await page.get_by_label("Modality").select_option("MR")
    await expect(page.get_by_text("No study matches")).to_be_visible()
    await page.get_by_role("button", name="Clear").click()
    await expect(page.locator(".study")).to_have_count(4)


async def test_a_study_can_be_browsed_by_clicks(shown: Space, browser: Browsing) -> None:
    page = browser.page
    await page.goto(shown.address)
    await opened_at(page, "J1")
    await expect(page.get_by_role("heading", name="Doe, Jane")).to_be_visible()
    await expect(page.locator("#image-description")).to_have_text(f"Image 1 of {IMAGES}, 128 × 128")
    assert await width_of_picture(page) == 128
    await page.get_by_role("button", name="Next image").click()
    await expect(page.locator("#image")).to_have_attribute("alt", f"Image 2 of {IMAGES}, 128 × 128")
    await page.get_by_role("combobox", name="Window").select_option("Lung")
    await expect(page.get_by_label("Center")).to_have_value("-600")
    await page.get_by_role("link", name="All studies").click()
    await expect(page.locator(".study")).to_have_count(1)
    assert any("window=-600%2C1500%2Clinear" in each for each in browser.requested_urls)


async def test_a_study_can_be_browsed_by_keyboard(shown: Space, browser: Browsing) -> None:
    page = browser.page
    await page.goto(shown.address)
    await expect(page.locator(".study")).to_have_count(4)
    await page.keyboard.press("Tab")
    await expect(page.get_by_text("Skip to the content")).to_be_focused()
    oldest = page.locator(".study").last
    while not await oldest.evaluate("link => link === document.activeElement"):
        await page.keyboard.press("Tab")
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    picture = page.locator("#image")
    for key, number in (("ArrowRight", 2), ("End", IMAGES), ("ArrowLeft", 2), ("Home", 1)):
        await expect(picture).to_be_visible()
        await page.keyboard.press(key)
        await expect(picture).to_have_attribute("alt", f"Image {number} of {IMAGES}, 128 × 128")
    await page.keyboard.press("Escape")
    await expect(oldest).to_be_focused()


async def test_frames_can_be_browsed(shown: Space, browser: Browsing) -> None:
    page = browser.page
    await page.goto(shown.address)
    await opened_at(page, str(dcmread(FILES[MULTI_FRAME]).PatientID))
    await expect(page.locator("#image-description")).to_contain_text("frame 2 of 2 frames")
    await page.get_by_role("button", name="Previous frame").click()
    await expect(page.locator("#image")).to_have_attribute(
        "alt", "Image 1 of 1, frame 1 of 2 frames, 100 × 100"
    )
    await expect(page.get_by_role("button", name="Next image")).to_be_hidden()


async def test_an_instance_without_an_image_has_a_notice(shown: Space, browser: Browsing) -> None:
    page = browser.page
    await page.goto(shown.address)
    await opened_at(page, str(dcmread(FILES[NO_IMAGE]).PatientID))
    await expect(page.get_by_text("This is no image")).to_be_visible()
    await expect(page.get_by_role("button", name="Apply")).to_be_hidden()


async def test_a_series_has_who_sent_it_where_that_is_known(
    shown: Space, browser: Browsing
) -> None:
    page = browser.page
    await page.goto(shown.address)
    await opened_at(page, "J1")
    await expect(page.locator("#origin")).to_have_text(
        "Received from CT1 by proxy ward7, 2026-01-02 03:04 UTC"
    )
    await page.get_by_role("link", name="All studies").click()
    await opened_at(page, "M1")
    await width_of_picture(page)
    await expect(page.locator("#origin")).to_have_text("")


async def test_a_name_with_markup_is_shown_as_text(shown: Space, browser: Browsing) -> None:
    page = browser.page
    await page.goto(shown.address)
    await expect(page.locator(".study strong", has_text="taken")).to_have_text(MARKUP)
    await opened_at(page, "M1")
    await expect(page.get_by_role("heading", name=MARKUP)).to_be_visible()
    await width_of_picture(page)
    assert await page.locator("h2, body script").count() == 0


async def test_the_page_fits_a_phone(shown: Space) -> None:
    async with browsing(PHONE) as browser:
        page = browser.page
        await page.goto(shown.address)
        for _ in range(2):
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide == PHONE[0]
            await page.locator(".study", has_text="Doe, Jane").tap()
            assert await width_of_picture(page) == 128
            await page.get_by_role("link", name="All studies").tap()


async def test_the_page_works_below_a_path_prefix(shown: Space, browser: Browsing) -> None:
    page = browser.page
    with below("/pacs/images", shown.address) as address:
        await page.goto(address)
        await opened_at(page, "J1")
        assert await width_of_picture(page) == 128
        assert all(each.startswith((address, "blob:")) for each in browser.requested_urls)


async def test_many_studies_are_paged(tmp_path: Path, browser: Browsing) -> None:
    page = browser.page
    async with space_in(tmp_path / "space") as space:
        await space.add_events(
            event(study=f"1.2.{number}", series=f"1.2.{number}.2", instance=f"1.2.{number}.3")
            for number in range(1, 31)
        )
        await page.goto(space.address)
        await expect(page.locator("#page-description")).to_have_text("Studies 1 to 24 of 30")
        await page.get_by_role("button", name="Next", exact=True).click()
        await expect(page.locator("#page-description")).to_have_text("Studies 25 to 30 of 30")
        await expect(page.locator(".study")).to_have_count(6)
        await expect(page.get_by_role("button", name="Next", exact=True)).to_be_disabled()
        await page.get_by_role("button", name="Previous", exact=True).click()
        await expect(page.locator(".study")).to_have_count(24)


async def test_a_token_is_requested_and_stays_in_memory_only(
    tmp_path: Path, browser: Browsing
) -> None:
    page, key = browser.page, SigningKey("one")
    about = {"access": "bearer", "token_issuer": ISSUER, "token_audience": AUDIENCE}
    with issuer([key]) as url:
        async with space_in(tmp_path / "space", jwks_url=url, **about) as space:
            await space.store(FILES["CT_small.dcm"])
            await page.goto(space.address)
            field, notice = page.get_by_label("Access token"), page.get_by_role("alert")
            await expect(notice).to_contain_text("only shown with a token")
            await field.fill(token(key, seconds=-3600))
            await page.keyboard.press("Enter")
            await expect(notice).to_contain_text("has expired")
            await field.fill(token(key))
            await page.keyboard.press("Enter")
            await expect(page.locator(".study .thumbnail img")).to_be_visible()
            await expect(notice).to_be_hidden()
            stored = "localStorage.length + sessionStorage.length + document.cookie.length"
            assert await page.evaluate(stored) == 0
            await page.reload()
            await expect(field).to_be_visible()


async def test_a_user_who_is_not_signed_in_gets_a_notice(tmp_path: Path, browser: Browsing) -> None:
    trusted = {"access": "header", "trusted_proxies": "127.0.0.1"}
    async with space_in(tmp_path / "space", **trusted) as space:
        await browser.page.goto(space.address)
        await expect(browser.page.get_by_role("alert")).to_contain_text("You are not signed in.")
        await expect(browser.page.get_by_label("Access token")).to_be_hidden()
