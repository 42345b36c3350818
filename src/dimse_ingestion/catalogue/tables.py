"""The catalogue's tables: what is known of patients, studies, series, instances and objects.

Each level keeps the elements that answer queries as JSON, and the keys asked most as columns,
normalized for comparison (`dicom.comparing`), so that SQL can narrow what Python then decides. All
objects are kept; an instance points to the one that answers for it. How the schema came about is
`migrations`' matter.
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


def _id() -> "Column[int]":
    return Column("id", Identity, primary_key=True, autoincrement=True)


def _text(name: str) -> "Column[str]":
    return Column(name, String, nullable=False, server_default="")


def _elements() -> "Column[bytes]":
    return Column("elements", LargeBinary, nullable=False)


def _parent(name: str, table: str) -> "Column[int]":
    return Column(name, Identity, ForeignKey(f"{table}.id"), nullable=False, index=True)


patients = Table(
    "patients",
    metadata,
    _id(),
    _text("source"),
    _text("patient_id"),
    _text("issuer"),
    _text("name"),
    _elements(),
    UniqueConstraint("source", "patient_id", "issuer"),
    Index(None, "source", "name"),
)
"""`name` is folded, its component groups between equals signs: `=yamada^tarou=山田^太郎=`."""

studies = Table(
    "studies",
    metadata,
    _id(),
    _text("source"),
    _parent("patient", "patients"),
    _text("study_instance_uid"),
    _text("study_date"),
    _text("study_time"),
    _text("accession_number"),
    _text("study_id"),
    _elements(),
    UniqueConstraint("source", "study_instance_uid"),
    Index(None, "source", "study_date"),
    Index(None, "source", "accession_number"),
)
"""`study_date` has 8 digits, `study_time` 12, both empty where there is none."""

series = Table(
    "series",
    metadata,
    _id(),
    _parent("study", "studies"),
    _text("series_instance_uid"),
    _text("modality"),
    _text("series_number"),
    _elements(),
    UniqueConstraint("study", "series_instance_uid"),
    Index(None, "series_instance_uid"),
)

instances = Table(
    "instances",
    metadata,
    _id(),
    _text("source"),
    _parent("series", "series"),
    _text("sop_instance_uid"),
    _text("sop_class_uid"),
    _text("instance_number"),
    Column("object", Identity, ForeignKey("objects.id"), nullable=False),
    UniqueConstraint("source", "sop_instance_uid"),
)
"""`object` is the one that answers (`duplicates: latest | first`)."""

objects = Table(
    "objects",
    metadata,
    _id(),
    _text("source"),
    _text("object_name"),
    _text("event_id"),
    _text("bucket_name"),
    _text("sop_instance_uid"),
    _text("transfer_syntax_uid"),
    _text("sha256"),
    Column("size", BigInteger, nullable=False, server_default="0"),
    Column("header_size", Integer, nullable=False, server_default="0"),
    _text("wado_internal_endpoint"),
    _text("wado_external_endpoint"),
    _elements(),
    UniqueConstraint("source", "object_name"),
    Index(None, "source", "sop_instance_uid"),
)
"""`elements` are all of the instance's, compressed JSON; `size` in bytes, of the data set."""
