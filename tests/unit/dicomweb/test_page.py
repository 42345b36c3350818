import re
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dimse_ingestion.dicomweb import page

FILES = page.page_files()
SCRIPTS = sorted(name for name in FILES if name.endswith(".js"))
MOST = 64 * 1024  # bytes of all files
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
INDEX = FILES["index.html"].content.decode()


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(Starlette(routes=list(page.routes_of(FILES)))) as client:
        yield client


@pytest.mark.parametrize("name", sorted(FILES))
def test_each_file_is_served_with_its_type_and_policy(client: TestClient, name: str) -> None:
    answer = client.get("/" if name == "index.html" else f"/page/{name}")
    assert answer.status_code == 200
    assert answer.content == FILES[name].content
    assert answer.headers["content-type"].split(";")[0] == KINDS[name.rpartition(".")[2]]
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_cached_file_is_revalidated(client: TestClient) -> None:
    first = client.get("/")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


def test_only_the_files_of_the_page_are_served(client: TestClient) -> None:
    for path in ("/page/", "/page/index.html", "/page/../page.py", "/page/..%2fpage.py"):
        assert client.get(path).status_code == 404
    assert client.post("/").status_code == 405


def test_with_a_viewer_the_page_links_to_it() -> None:
    index = page.page_files(has_viewer=True)["index.html"].content.decode()
    assert '<html lang="en" data-viewer="viewer/viewer">' in index
    assert "data-viewer" not in INDEX


def test_the_page_is_small() -> None:
    assert sum(len(file.content) for file in FILES.values()) < MOST


def test_urls_are_relative_and_lead_to_files() -> None:
    named = re.findall(r'(?:src|href)="(?!#)([^"]+)"', INDEX)
    for name in SCRIPTS:
        imported = re.findall(r'from "([^"]+)"', FILES[name].content.decode())
        named += [f"page/{each.removeprefix('./')}" for each in imported]
    assert {each.removeprefix("page/") for each in named} == FILES.keys() - {"index.html"}


def test_nothing_is_inline() -> None:
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", INDEX)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_never_parse_text_as_markup(name: str) -> None:
    written = FILES[name].content.decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", written)
    assert not re.search(r"localStorage|sessionStorage|document\.cookie", written)
