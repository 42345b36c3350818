"""`python -m dimse_ingestion`: the same as the `dimse-ingestion` command."""

from dimse_ingestion.cli import main

if __name__ == "__main__":
    main()
