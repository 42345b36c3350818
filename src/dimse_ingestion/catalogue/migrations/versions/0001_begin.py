"""The first schema: studies, series, instances, objects."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_IDENTITY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _texts(*names: str) -> "list[SchemaItem]":
    return [sa.Column(name, _TEXT, nullable=False) for name in names]


def _keys(*names: str) -> "list[SchemaItem]":
    return [sa.Column(name, _TEXT, nullable=True) for name in names]


def _number(name: str, kind: "sa.types.TypeEngine[int]") -> "sa.Column[int]":
    return sa.Column(name, kind, nullable=False)


def _reference(table: str, name: str, target: str) -> list[SchemaItem]:
    return [
        _number(name, _IDENTITY),
        sa.ForeignKeyConstraint([name], [f"{target}.id"], name=f"fk_{table}_{name}"),
    ]


def _table(name: str, *items: SchemaItem, unique: tuple[str, ...]) -> None:
    op.create_table(
        name,
        sa.Column("id", _IDENTITY, primary_key=True, autoincrement=True),
        *items,
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        sa.UniqueConstraint(*unique, name=f"uq_{name}_{'_'.join(unique)}"),
    )


def _elements() -> "sa.Column[bytes]":
    return sa.Column("elements", sa.LargeBinary, nullable=False)


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def upgrade() -> None:
    """Create the tables."""
    _studies()
    _series()
    _objects()
    _instances()


def _studies() -> None:
    patient = ("patient_id", "patient_name", "patient_name_ideographic", "patient_name_phonetic")
    _table(
        "studies",
        *_texts("source", "study_instance_uid", "rank", "patient_key"),
        *_keys(*patient, "patient_birth_date"),
        *_keys("study_date", "study_time", "accession_number", "study_id"),
        _elements(),
        unique=("study_instance_uid", "source"),
    )
    _index("studies", "patient_key", "source", "rank")
    for key in (*patient, "patient_birth_date", "study_date", "accession_number"):
        _index("studies", key, "source")


def _series() -> None:
    _table(
        "series",
        *_reference("series", "study", "studies"),
        *_texts("series_instance_uid", "rank"),
        *_keys("modality", "series_number"),
        _elements(),
        unique=("series_instance_uid", "study"),
    )
    _index("series", "study")


def _objects() -> None:
    _table(
        "objects",
        *_texts("source", "bucket_name", "object_name", "rank", "event_id", "sop_instance_uid"),
        *_texts("transfer_syntax_uid", "sha256"),
        _number("size", sa.BigInteger()),
        _number("header_size", sa.Integer()),
        *_texts("wado_internal_endpoint", "wado_external_endpoint"),
        _elements(),
        unique=("object_name", "bucket_name", "source"),
    )
    _index("objects", "sop_instance_uid", "source")


def _instances() -> None:
    _table(
        "instances",
        *_texts("source", "sop_instance_uid", "rank"),
        *_reference("instances", "study", "studies"),
        *_reference("instances", "series", "series"),
        *_reference("instances", "object", "objects"),
        *_texts("sop_class_uid"),
        *_keys("instance_number"),
        unique=("sop_instance_uid", "source"),
    )
    _index("instances", "study", "sop_class_uid")
    _index("instances", "series")


def downgrade() -> None:
    """Drop the tables: `dimse-ingestion reindex` fills them again from the bucket."""
    for table in ("instances", "objects", "series", "studies"):
        op.drop_table(table)
