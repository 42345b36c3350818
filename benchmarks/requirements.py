"""What a run needs on this machine: peers to compare with, and servers to store in."""

import shutil

from benchmarks.systems import DICOMWEB_PLUGIN
from harness import modalities, postgresql, s3_server


def missing() -> str:
    """Return why a run is not possible here, as parts of a sentence; empty when it is."""
    reasons = [
        modalities.missing(),
        "" if shutil.which("Orthanc") else "Orthanc is not installed (Debian's orthanc)",
        "" if DICOMWEB_PLUGIN.exists() else "Debian's orthanc-dicomweb is not installed",
        postgresql.why_not(),
        s3_server.why_not("minio"),
    ]
    return "; ".join(reason for reason in reasons if reason)
