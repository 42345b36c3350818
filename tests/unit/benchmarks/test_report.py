"""The benchmarks' page and chart."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.chart import draw
from benchmarks.report import Results, by_family, document, figure, read, table, write
from benchmarks.samples import Row

OURS = Row(
    "storing", "3 KB", "dimse-ingestion", 3, 30, 62.0, 0.2, 16.0, 40.0, None,
    {"proxy": 1.5, "NATS": 0.5, "client": 0.1}, {"proxy": 97.0}, "Orthanc", 0.125,
)  # fmt: skip
PEER = Row("storing", "3 KB", "Orthanc", 3, 30, 530.0, 1.5, 1.9, 3.0, None, {"Orthanc": 1.4})
AHEAD = Row("searching", "one study <1 k>", "dimse-ingestion", 3, 30, 8.0, 0.0, ratio=4.0,
            baseline="Orthanc")  # fmt: skip
RESULTS = Results("2026-01-01", "default", 600.0, ("0.1", "1.5"), {"kernel": "Linux 6"},
                  [OURS, PEER, AHEAD])  # fmt: skip
_SVG = "{http://www.w3.org/2000/svg}"


def test_the_table_has_a_line_for_each_row() -> None:
    head, rule, ours, peer = table([OURS, PEER])

    assert (
        head == "| case | system | /s | MB/s | ratio | p50 ms | p99 ms | CPU ms each | peak MiB |"
    )
    assert rule.count("|") == head.count("|")
    assert ours.startswith(
        "| 3 KB | dimse-ingestion | 62.0 | 0.20 | 0.12 (Orthanc) | 16.0 | 40.0 |"
    )
    assert peer.startswith("| 3 KB | Orthanc | 530 | 1.50 |  | 1.90 | 3.00 |")


def test_the_sum_of_processors_leaves_the_client_out() -> None:
    assert "**2.00**: proxy 1.50, NATS 0.50, client 0.10" in table([OURS])[2]


def test_a_process_without_a_part_is_left_out() -> None:
    idle = replace(OURS, cpu_ms={"proxy": 1.5, "NATS": 0.5, "dicomweb": 0.01})

    assert "**2.01**: proxy 1.50, NATS 0.50 |" in table([idle])[2]


def test_the_chart_names_the_variant_of_ours() -> None:
    variant = replace(AHEAD, system="dimse-ingestion, SQLite")

    assert "one study &lt;1 k&gt;, SQLite" in draw([variant], "")


def test_a_column_without_a_value_is_left_out() -> None:
    assert table([AHEAD])[0] == "| case | system | /s | ratio |"


def test_the_page_names_date_machine_and_load() -> None:
    page = document(RESULTS)

    assert "| date | 2026-01-01 |" in page
    assert "| load average | 0.1 before, 1.5 after |" in page
    assert "| kernel | Linux 6 |" in page
    assert page.index("## Storing") < page.index("## Searching")


def test_rows_of_a_family_come_together() -> None:
    assert by_family([OURS, AHEAD, PEER]) == [OURS, PEER, AHEAD]


def test_figures_have_as_many_digits_as_they_deserve() -> None:
    assert [figure(value) for value in (1234.5, 99.94, 9.996, 0.05)] == [
        "1,234", "99.9", "10.00", "0.05",
    ]  # fmt: skip


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    write(RESULTS, tmp_path)

    assert read(tmp_path).rows == RESULTS.rows
    assert (tmp_path / "table.md").read_text() == document(RESULTS)


def test_the_chart_has_a_bar_for_each_ratio_of_ours() -> None:
    svg = ET.fromstring(draw(RESULTS.rows, "2026"))

    texts = [text.text for text in svg.iter(f"{_SVG}text")]
    assert {"3 KB", "0.12", "one study <1 k>", "4.00"} <= set(texts)
    assert len(list(svg.iter(f"{_SVG}rect"))) == 2


def test_bars_of_an_inverse_ratio_are_as_long_to_the_other_side() -> None:
    slow = Row("f", "slow", "dimse-ingestion", 1, 1, 1.0, 1.0, baseline="p", ratio=0.25)
    fast = Row("f", "fast", "dimse-ingestion", 1, 1, 1.0, 1.0, baseline="p", ratio=4.0)

    svg = ET.fromstring(draw([slow, fast], ""))

    bars = [(float(bar.attrib["x"]), float(bar.attrib["width"])) for bar in svg.iter(f"{_SVG}rect")]
    assert bars[0][1] == bars[1][1]
    assert bars[0][0] + bars[0][1] == bars[1][0]


def test_a_run_without_any_ratio_has_an_empty_chart() -> None:
    assert "<rect" not in draw([PEER], "2026")
