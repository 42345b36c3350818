from dimse_ingestion.operations.event_cache import Confirmed


def test_what_was_added_is_remembered_for_its_class_only() -> None:
    confirmed = Confirmed()
    confirmed.add("key", "1.2.3", "event")
    assert confirmed.event_of("key", "1.2.3") == "event"
    assert confirmed.event_of("key", "1.2.4") == ""
    assert confirmed.event_of("other", "1.2.3") == ""


def test_the_oldest_is_forgotten_and_adding_again_makes_young() -> None:
    confirmed = Confirmed(most=2)
    for key in ("a", "b", "a", "c"):
        confirmed.add(key, "1.2", f"event of {key}")
    remembered = [key for key in "abc" if confirmed.event_of(key, "1.2")]
    assert remembered == ["a", "c"]
