"""The demo from start to end: send, query, compare, and print the next steps."""

import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import httpx2
from pydicom import Dataset
from rich.console import Console
from rich.text import Text

from dimse_ingestion.commands.demo import queries, tables
from dimse_ingestion.commands.demo.images import shipped_images
from dimse_ingestion.commands.demo.product import Product, running
from dimse_ingestion.commands.demo.proof import proof
from dimse_ingestion.commands.demo.queries import Query
from dimse_ingestion.scu.instance_file import InstanceFile
from dimse_ingestion.scu.modality import Modality, StoreResult

_NAMES_BY_WILDCARD = (
    ("山*", "Japanese, by ideographs: PatientName=山*"),
    ("*김*", "Korean: PatientName=*김*"),
    ("люк*", "Cyrillic, small letters: PatientName=люк*"),
    ("Διον*", "Greek: PatientName=Διον*"),
    ("王*", "Chinese: PatientName=王*"),
    ("قباني*", "Arabic: PatientName=قباني*"),
    ("שרון*", "Hebrew: PatientName=שרון*"),
)


class Demo:
    """One run; `failures` collects the reasons for an exit status other than 0."""

    def __init__(self, console: Console) -> None:
        self.failures: list[str] = []
        self._console = console

    def run(self, data: Path) -> None:
        """Run all steps, with the product's data in `data`."""
        images = shipped_images()
        self._console.print("Starting NATS, catalogue, ingestion and proxy ...")
        with running(data) as product:
            modality = Modality(product.address, product.ae_title)
            self._echo(modality, product)
            sent = self._send(modality, images)
            self._send_again(modality, images[0])
            self._query(modality, sent)
            self._prove(product, sent)
            self._wait_for_user(product)

    def _echo(self, modality: Modality, product: Product) -> None:
        host, port = product.address
        status = modality.echo()
        self._console.print(f"C-ECHO {product.ae_title}@{host}:{port}: {status:04X}H")
        self._expect(status == 0, f"C-ECHO was answered with {status:04X}H")

    def _send(self, modality: Modality, images: list[InstanceFile]) -> list[StoreResult]:
        sending = tables.progress_of(self._console, modality.send(images), len(images))
        sent = list(sending)
        self._console.print(tables.stored_table(sent))
        for each in sent:
            reason = f"{each.image.path.name}: {each.status:04X}H {each.comment}"
            self._expect(each.status == 0, reason)
        return sent

    def _send_again(self, modality: Modality, image: InstanceFile) -> None:
        (again,) = modality.send([image])
        self._console.print(
            f"{image.path.name} sent once more: {again.status:04X}H, nothing new is written."
        )
        self._expect(again.status == 0, f"{image.path.name} again: {again.status:04X}H")

    def _query(self, modality: Modality, sent: list[StoreResult]) -> None:
        people = self._find(modality, queries.patients())
        known = {str(each.image.header.get("PatientID", "")) for each in sent}
        answered = {str(each.get("PatientID", "")) for each in people}
        self._expect(known <= answered, f"patients not found: {len(known - answered)}")
        studies = self._find(modality, queries.studies("", "all studies"))
        largest = max(studies, key=lambda study: int(study.NumberOfStudyRelatedInstances))
        series = self._find(modality, queries.series(largest.StudyInstanceUID))
        self._find(
            modality, queries.instances(largest.StudyInstanceUID, series[0].SeriesInstanceUID)
        )
        for pattern, description in _NAMES_BY_WILDCARD:
            self._find(modality, queries.studies(pattern, description))

    def _find(self, modality: Modality, query: Query) -> list[Dataset]:
        matches = modality.find(query.identifier, patient_root=query.patient_root)
        self._console.print(tables.found_table(query, matches))
        self._expect(bool(matches), f"nothing found for {query.description}")
        return matches

    def _prove(self, product: Product, sent: list[StoreResult]) -> None:
        comparison = proof(product.bucket, sent)
        for line in tables.proof_lines(comparison):
            self._console.print(line)
        self._expect(not comparison.missing, f"{len(comparison.missing)} images did not arrive")
        self._expect(
            not comparison.unexpected, f"{len(comparison.unexpected)} objects are not what was sent"
        )

    def _wait_for_user(self, product: Product) -> None:
        """Keep the page open until the user at the terminal presses Enter."""
        answer = httpx2.get(product.page)
        self._expect(answer.is_success, f"the page was answered with {answer.status_code}")
        if self._console.is_terminal and sys.stdin.isatty():
            self._console.print(f"Look at the images in a browser: {product.page}")
            with suppress(EOFError, KeyboardInterrupt):
                self._console.input("The page is there until you press Enter. ")

    def _expect(self, condition: bool, failure_text: str) -> None:
        if not condition:
            self.failures.append(failure_text)


def run_demo(data: Path | None) -> int:
    """Run the demo; return the exit status. Without `data`, everything is deleted at the end."""
    console = Console(width=None if Console().is_terminal else 140, markup=False)
    demo = Demo(console)
    try:
        if data is not None:
            demo.run(data)
        else:
            with tempfile.TemporaryDirectory(prefix="dimse-demo-") as folder:
                demo.run(Path(folder))
    except (RuntimeError, OSError) as broken:
        demo.failures.append(str(broken))
    return _end(console, demo.failures)


def _end(console: Console, failures: list[str]) -> int:
    for reason in failures:
        console.print(Text.assemble(("failed:", "red"), f" {reason}"))
    if failures:
        return 1
    console.print(
        "\nEverything arrived. With your own images:\n"
        "  dimse-ingestion standalone        # keeps the same running, in ./dimse-data\n"
        "  http://127.0.0.1:8080/            # its page, in a browser: studies, series, images\n"
        "  dcmsend -aec DICOM-INGEST 127.0.0.1 11112 YOUR.dcm\n"
        "  findscu -S -aec DICOM-INGEST -k QueryRetrieveLevel=STUDY -k PatientName 127.0.0.1 11112"
    )
    return 0
