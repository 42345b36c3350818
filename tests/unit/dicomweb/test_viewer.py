from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dimse_ingestion.dicomweb import viewer

TYPES = {
    "index.html": "text/html",
    "app.js": "text/javascript",
    "module.mjs": "text/javascript",
    "app.css": "text/css",
    "manifest.json": "application/json",
    "assets/codec.wasm": "application/wasm",
    "assets/font.woff2": "font/woff2",
    "assets/picture.png": "image/png",
    "assets/picture.svg": "image/svg+xml",
    "nothing-known.xyzzy": "application/octet-stream",
}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    folder = tmp_path / "files"
    for name in TYPES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    (folder / "app-config.js").write_text("the package's own")
    (tmp_path / "secret.txt").write_text("secret")
    with TestClient(Starlette(routes=list(viewer.routes_of(folder)))) as client:
        yield client


@pytest.mark.parametrize(("name", "kind"), TYPES.items())
def test_each_file_has_its_type_and_policy(client: TestClient, name: str, kind: str) -> None:
    answer = client.get(f"/viewer/{name}")
    assert (answer.status_code, answer.text) == (200, f"content of {name}")
    assert answer.headers["content-type"] == kind
    assert "connect-src 'self' blob: data:;" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["", "viewer?StudyInstanceUIDs=1.2", "segmentation/dicomweb"])
def test_routes_of_the_viewer_give_its_index(client: TestClient, path: str) -> None:
    answer = client.get(f"/viewer/{path}")
    assert (answer.status_code, answer.text) == (200, "content of index.html")
    assert answer.headers["content-type"] == "text/html"


def test_a_path_without_a_slash_is_redirected(client: TestClient) -> None:
    answer = client.get("/viewer", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "viewer/")


def test_the_configuration_is_of_this_package(client: TestClient) -> None:
    answer = client.get("/viewer/app-config.js")
    assert answer.headers["content-type"].split(";")[0] == "text/javascript"
    assert 'new URL("../dicomweb", document.currentScript.src)' in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "..%2fsecret.txt",
        "assets/..%2f..%2fsecret.txt",
        "%2e%2e/secret.txt",
        "%2Fetc%2Fhosts.txt",
        "..%5csecret.txt",
        "missing.js",
        "assets/missing.wasm",
    ],
)
def test_files_outside_of_the_viewer_are_404(client: TestClient, path: str) -> None:
    answer = client.get(f"/viewer/{path}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_a_link_out_of_its_folder_is_not_followed(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "files" / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert client.get("/viewer/link.txt").status_code == 404


def test_a_cached_file_is_revalidated(client: TestClient) -> None:
    first = client.get("/viewer/app.js")
    again = client.get("/viewer/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_files_are_read_only(client: TestClient) -> None:
    assert client.post("/viewer/app.js").status_code == 405
    assert client.head("/viewer/app.js").status_code == 200
