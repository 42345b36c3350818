"""`make bench`: receiving and the whole path against peers in the same run, then DICOMweb."""

import shutil
import sys

from benchmarks import dicomweb, receiving, whole_path
from harness import modalities

missing = modalities.missing() or ("" if shutil.which("Orthanc") else "Orthanc is not installed")
if missing:
    sys.exit(f"There is nothing to compare with: {missing}.")
receiving.main()
print()
whole_path.main()
print()
dicomweb.main()
