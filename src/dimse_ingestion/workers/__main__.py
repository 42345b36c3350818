"""`python -m dimse_ingestion.workers`: a worker process; only a supervisor starts it."""

import sys

from dimse_ingestion.workers.worker import main

if __name__ == "__main__":
    sys.exit(main())
