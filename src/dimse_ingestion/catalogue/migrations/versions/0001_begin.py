"""The first schema: patients, studies, series, instances, objects."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_IDENTITY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _id() -> "sa.Column[int]":
    return sa.Column("id", _IDENTITY, primary_key=True, autoincrement=True)


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.String, nullable=False, server_default="")


def _texts(*names: str) -> "list[sa.Column[str]]":
    return [_text(name) for name in names]


def _elements() -> "sa.Column[bytes]":
    return sa.Column("elements", sa.LargeBinary, nullable=False)


def _reference(table: str, name: str, target: str) -> list[SchemaItem]:
    return [
        sa.Column(name, _IDENTITY, nullable=False),
        sa.ForeignKeyConstraint([name], [f"{target}.id"], name=f"fk_{table}_{name}"),
    ]


def _table(name: str, *items: SchemaItem, unique: tuple[str, ...]) -> None:
    op.create_table(
        name,
        _id(),
        *items,
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        sa.UniqueConstraint(*unique, name=f"uq_{name}_{'_'.join(unique)}"),
    )


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def upgrade() -> None:
    """Make the tables."""
    _table(
        "patients",
        *_texts("source", "patient_id", "issuer", "name"),
        _elements(),
        unique=("source", "patient_id", "issuer"),
    )
    _table(
        "studies",
        _text("source"),
        *_reference("studies", "patient", "patients"),
        *_texts("study_instance_uid", "study_date", "study_time", "accession_number", "study_id"),
        _elements(),
        unique=("source", "study_instance_uid"),
    )
    _table(
        "series",
        *_reference("series", "study", "studies"),
        *_texts("series_instance_uid", "modality", "series_number"),
        _elements(),
        unique=("study", "series_instance_uid"),
    )
    _table(
        "objects",
        *_texts("source", "object_name", "event_id", "bucket_name", "sop_instance_uid"),
        *_texts("transfer_syntax_uid", "sha256"),
        sa.Column("size", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("header_size", sa.Integer, nullable=False, server_default="0"),
        *_texts("wado_internal_endpoint", "wado_external_endpoint"),
        _elements(),
        unique=("source", "object_name"),
    )
    _table(
        "instances",
        _text("source"),
        *_reference("instances", "series", "series"),
        *_texts("sop_instance_uid", "sop_class_uid", "instance_number"),
        *_reference("instances", "object", "objects"),
        unique=("source", "sop_instance_uid"),
    )
    _index("patients", "source", "name")
    _index("studies", "patient")
    _index("studies", "source", "study_date")
    _index("studies", "source", "accession_number")
    _index("series", "study")
    _index("series", "series_instance_uid")
    _index("instances", "series")
    _index("objects", "source", "sop_instance_uid")


def downgrade() -> None:
    """Remove the tables: the bucket can fill them again (`dimse-ingestion reindex`)."""
    for table in ("instances", "objects", "series", "studies", "patients"):
        op.drop_table(table)
