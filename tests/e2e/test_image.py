"""What is promised of the product's image, seen from inside a pod of it."""

import json

from tests.e2e.conftest import Observed

_SEEN = """
import json, os, pathlib, ssl, stat, sysconfig
packages = pathlib.Path(sysconfig.get_path("purelib"))
records = "".join(each.read_text() for each in packages.glob("*.dist-info/RECORD"))
authorities = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"]).cert_store_stats()
programs = [each for each in pathlib.Path("/usr").rglob("*") if not each.is_symlink()]
rising = stat.S_ISUID | stat.S_ISGID
print(json.dumps({
    "user": os.getuid(),
    "authorities": authorities["x509_ca"],
    "writable": os.access("/opt", os.W_OK) or os.access("/usr", os.W_OK),
    "may become another": [str(p) for p in programs if p.is_file() and p.stat().st_mode & rising],
    "records a time": "uv_cache" in records,
}))
"""


def test_it_runs_as_nobody_trusts_the_world_s_authorities_and_records_no_time(
    observed: Observed,
) -> None:
    (pod, *_) = observed.space.release.pod_names("ingestion")
    seen = json.loads(observed.space.namespace.execute(pod, ["python3", "-c", _SEEN]))
    assert seen["user"] == 10001
    assert seen["authorities"] > 50
    assert not seen["writable"]
    assert seen["may become another"] == []
    assert not seen["records a time"]
