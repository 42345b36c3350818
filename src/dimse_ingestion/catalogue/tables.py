"""The catalogue's tables: studies, series, instances and their objects in the bucket.

Each level has its elements as JSON, and the most used keys as columns, normalized by
`dicom.comparison`: SQL selects candidates by the columns, and Python decides. A patient is the set
of studies with one patient key, so there is no table of patients to update with them. All objects
have a row; an instance points to its current one, which answers queries. The steps to this schema
are in `migrations`.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Identity = BigInteger().with_variant(Integer, "sqlite")
Text = String().with_variant(String(collation="C"), "postgresql")
"""Text that both databases compare by code points, as Python does."""


def _id() -> "Column[int]":
    return Column("id", Identity, primary_key=True, autoincrement=True)


def _text(name: str) -> "Column[str]":
    return Column(name, Text, nullable=False)


def _key(name: str) -> "Column[str]":
    """Return the column of a normalized key: empty without value, NULL if SQL can't compare it."""
    return Column(name, Text, nullable=True)


def _added_text(name: str) -> "Column[str]":
    """Return a text column that was added to a table with rows: empty in those."""
    return Column(name, Text, nullable=False, server_default=text("''"))


def _elements() -> "Column[bytes]":
    return Column("elements", LargeBinary, nullable=False)


def _of(name: str, table: str) -> "Column[int]":
    return Column(name, Identity, ForeignKey(f"{table}.id"), nullable=False)


studies = Table(
    "studies",
    metadata,
    _id(),
    _text("source"),
    _text("study_instance_uid"),
    _text("rank"),
    _text("patient_key"),
    _key("patient_id"),
    _key("patient_name"),
    _key("patient_name_ideographic"),
    _key("patient_name_phonetic"),
    _key("patient_birth_date"),
    _key("study_date"),
    _key("study_time"),
    _key("accession_number"),
    _key("study_id"),
    _elements(),
    UniqueConstraint("study_instance_uid", "source"),
    Index(None, "patient_key", "source", "rank"),
    Index(None, "patient_id", "source"),
    Index(None, "patient_name", "source"),
    Index(None, "patient_name_ideographic", "source"),
    Index(None, "patient_name_phonetic", "source"),
    Index(None, "patient_birth_date", "source"),
    Index(None, "study_date", "source"),
    Index(None, "accession_number", "source"),
)
"""`elements` are patient and study keys, of the study's instance with the highest `rank`.
`patient_name` is the folded name with all its component groups; dates have 8 digits, times 12."""

series = Table(
    "series",
    metadata,
    _id(),
    _of("study", "studies"),
    _text("series_instance_uid"),
    _text("rank"),
    _key("modality"),
    _key("series_number"),
    _elements(),
    UniqueConstraint("series_instance_uid", "study"),
    Index(None, "study"),
)

objects = Table(
    "objects",
    metadata,
    _id(),
    _text("source"),
    _text("bucket_name"),
    _text("object_name"),
    _text("rank"),
    _text("event_id"),
    _text("sop_instance_uid"),
    _text("transfer_syntax_uid"),
    _text("sha256"),
    Column("size", BigInteger, nullable=False),
    Column("header_size", Integer, nullable=False),
    _text("wado_internal_endpoint"),
    _text("wado_external_endpoint"),
    _elements(),
    _added_text("calling_ae_title"),
    _added_text("called_ae_title"),
    _added_text("proxy_id"),
    _added_text("peer_address"),
    _added_text("received_at"),
    UniqueConstraint("object_name", "bucket_name", "source"),
    Index(None, "sop_instance_uid", "source"),
)
"""`elements` are all of the instance's; `size` counts the data set's bytes. `rank` orders objects
by when they were stored. `calling_ae_title` and what follows it are the AE that sent the object,
the proxy that received it and when, empty where that is not known."""

instances = Table(
    "instances",
    metadata,
    _id(),
    _text("source"),
    _text("sop_instance_uid"),
    _text("rank"),
    _of("study", "studies"),
    _of("series", "series"),
    _of("object", "objects"),
    _text("sop_class_uid"),
    _key("instance_number"),
    UniqueConstraint("sop_instance_uid", "source"),
    Index(None, "study", "sop_class_uid"),
    Index(None, "series"),
)
"""`object` is the current one (`duplicates: latest | first`), `rank` its rank."""
