"""`make bench`: receiving, then the whole path; ratios against peers in the same run."""

import shutil
import sys

from benchmarks import receiving, whole_path

missing = [tool for tool in ("storescu", "storescp", "Orthanc") if shutil.which(tool) is None]
if missing:
    sys.exit(f"To compare, install DCMTK and Orthanc: {', '.join(missing)} not on PATH.")
receiving.main()
print()
whole_path.main()
