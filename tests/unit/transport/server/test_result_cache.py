from dimse_ingestion.transport.protocol.codec import Result
from dimse_ingestion.transport.protocol.messages import StoreResult
from dimse_ingestion.transport.server import result_cache
from dimse_ingestion.transport.server.result_cache import ResultCache
from tests.unit.transport.client_server import store_open

DONE = Result(store=StoreResult(status=0, key="k"))
FOR_NOW = Result(store=StoreResult(status=0xA700, transient=True))
ASKED = store_open(b"x")


def test_a_result_is_cached_for_its_session_and_its_operation() -> None:
    one = ResultCache(120)
    one.put("s1", ASKED, DONE, 0.0)
    assert one.by_session("s1", 119.0) == one.by_request(ASKED, 119.0) == DONE
    assert one.by_session("s1", 120.0) is one.by_request(ASKED, 120.0) is None


def test_a_transient_failure_is_cached_for_its_session_only() -> None:
    one = ResultCache(120)
    one.put("s1", ASKED, FOR_NOW, 0.0)
    assert one.by_session("s1", 1.0) == FOR_NOW
    assert one.by_request(ASKED, 1.0) is None


def test_other_content_under_the_same_operation_id_has_no_result() -> None:
    one = ResultCache(120)
    one.put("s1", ASKED, DONE, 0.0)
    assert one.by_request(store_open(b"y"), 1.0) is None


def test_the_number_of_cached_results_is_limited() -> None:
    one = ResultCache(120)
    for number in range(result_cache._MAX_RESULTS + 10):
        one.put(f"s{number}", store_open(b"x", f"op{number}"), DONE, 0.0)
    assert one.by_session("s0", 0.0) is None
    assert one.by_session(f"s{result_cache._MAX_RESULTS + 9}", 0.0) == DONE
    assert len(one._requests) <= result_cache._MAX_RESULTS
