"""The demo's output in a terminal: progress while it sends, then tables."""

from collections import Counter
from collections.abc import Iterable, Iterator

from pydicom import Dataset
from pydicom.uid import UID
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from dimse_ingestion.commands.demo.proof import Proof
from dimse_ingestion.commands.demo.queries import Query
from dimse_ingestion.scu.modality import StoreResult

_SHOWN_AT_MOST = 12
_LABELS = {
    "NumberOfPatientRelatedStudies": "Studies",
    "NumberOfStudyRelatedSeries": "Series",
    "NumberOfStudyRelatedInstances": "Images",
    "NumberOfSeriesRelatedInstances": "Images",
}
"""Short headings for keywords that are too long for a column."""


def progress_of(
    console: Console, sending: Iterable[StoreResult], total: int
) -> Iterator[StoreResult]:
    """Yield each result, and show the progress."""
    columns = (
        TextColumn("[bold]C-STORE"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total)
        for sent in sending:
            progress.update(task, advance=1, description=sent.image.path.name)
            yield sent


def stored_table(sent: list[StoreResult]) -> Table:
    """Return a table of the stored images, a row for each modality and transfer syntax."""
    table = Table(title="Stored through proxy, NATS and ingestion", title_justify="left")
    for name in ("Modality", "Transfer syntax", "Character sets"):
        table.add_column(name)
    for name in ("Images", "KiB", "Status", "ms each"):
        table.add_column(name, justify="right")
    for (modality, syntax), group in sorted(_groups(sent).items()):
        table.add_row(modality, syntax, _character_sets(group), *_figures(group))
    return table


def _groups(sent: list[StoreResult]) -> dict[tuple[str, str], list[StoreResult]]:
    groups: dict[tuple[str, str], list[StoreResult]] = {}
    for each in sent:
        modality = str(each.image.header.get("Modality") or "-")
        groups.setdefault((modality, _short(each.image.transfer_syntax)), []).append(each)
    return groups


def _short(transfer_syntax: UID) -> str:
    return transfer_syntax.name.split(",")[0].split(" (")[0].replace(" Image Compression", "")


def _character_sets(group: list[StoreResult]) -> str:
    names = (each.image.header.get("SpecificCharacterSet") for each in group)
    terms = {"+".join(_terms(name)) for name in names if name}
    return ", ".join(sorted(terms)) or "ASCII"


def _terms(name: object) -> list[str]:
    several = [name] if isinstance(name, str) else list(name)  # type: ignore[call-overload]
    return [term.removeprefix("ISO_IR ").removeprefix("ISO 2022 ") for term in several if term]


def _figures(group: list[StoreResult]) -> tuple[str, str, str, str]:
    statuses = Counter(f"{each.status:04X}H" for each in group)
    size = sum(len(each.image.data_set) for each in group) / 1024
    seconds = sum(each.seconds for each in group) / len(group)
    return str(len(group)), f"{size:.0f}", " ".join(statuses), f"{seconds * 1000:.0f}"


def found_table(query: Query, matches: list[Dataset]) -> Table:
    """Return a table of the first dozen matches of one C-FIND."""
    level = query.identifier.QueryRetrieveLevel
    model = "Patient Root" if query.patient_root else "Study Root"
    title = f"C-FIND {model} {level}: {query.description} ({len(matches)} found)"
    table = Table(title=title, title_justify="left")
    for keyword in query.columns:
        table.add_column(_LABELS.get(keyword, keyword), overflow="fold")
    for match in matches[:_SHOWN_AT_MOST]:
        table.add_row(*(_text(match, keyword) for keyword in query.columns))
    if len(matches) > _SHOWN_AT_MOST:
        table.caption = f"and {len(matches) - _SHOWN_AT_MOST} more"
    return table


def _text(match: Dataset, keyword: str) -> str:
    value = match.get(keyword)
    if keyword == "SOPClassUID" and value:
        return UID(value).name
    return "" if value is None else str(value)


def proof_lines(proof: Proof) -> Iterator[Text]:
    """Yield lines about the comparison of bucket and images."""
    yield Text(f"{proof.identical} data sets are in the bucket byte for byte.")
    for image in proof.missing:
        yield Text(f"missing in the bucket: {image.path.name}", "red")
    for path in proof.unexpected:
        yield Text(f"not what was sent: {path}", "red")
