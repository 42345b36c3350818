from dimse_ingestion.operations.event_cache import AcceptedEvents


def test_an_event_is_cached_for_its_sop_class_only() -> None:
    accepted_events = AcceptedEvents()
    accepted_events.add("key", "1.2.3", "event")
    assert accepted_events.event_id("key", "1.2.3") == "event"
    assert accepted_events.event_id("key", "1.2.4") == ""
    assert accepted_events.event_id("other", "1.2.3") == ""


def test_the_least_recently_added_event_is_evicted() -> None:
    accepted_events = AcceptedEvents(maximum=2)
    for key in ("a", "b", "a", "c"):
        accepted_events.add(key, "1.2", f"event of {key}")
    remembered = [key for key in "abc" if accepted_events.event_id(key, "1.2")]
    assert remembered == ["a", "c"]
