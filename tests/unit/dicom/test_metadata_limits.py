import pytest

from dimse_ingestion.dicom.metadata_limits import MOST_ELEMENTS, MOST_VALUES, MetadataBudget


def test_what_is_within_the_limits_may_come() -> None:
    budget = MetadataBudget()
    budget.spend(elements=MOST_ELEMENTS, values=MOST_VALUES)
    with pytest.raises(ValueError, match="send its long values as bulk data"):
        budget.spend(values=1)
