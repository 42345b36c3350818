"""Every mistake in a database's URL has a sentence that names it, without the password."""

import pytest

from dimse_ingestion.catalogue.database import open_engine
from dimse_ingestion.catalogue.database_url import parse_database_url

SECRET = "pa55word"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://u:{}@h:99999/x", "the port 99999 is none: give one from 1 to 65535."),
        ("postgresql://u:{}@h:0/x", "the port 0 is none"),
        ("postgresql://u:{}@h:-1/x", "the port -1 is none"),
        ("postgresql://u:{}@/x?host=h&port=99999", "the port 99999 is none"),
        ("postgresql://u:{}@/x?host=h:99999", "the port 99999 is none"),
        ("postgresql://u:{}@h:abc/x", "is no URL of a database"),
        ("postgresql://u:{}@h1:1,h2/x", "is no URL of a database"),
        ("postgresql://u:{}@[::1/x", "is no URL of a database"),
        ("postgresql:u", "is no URL of a database"),
        (" postgresql://u:{}@h/x", "is no URL of a database"),
        ("", "is no URL of a database"),
        ("postgresql://u:{}@h", "names no database"),
        ("postgresql://u:{}@h/x?applicationname=x", "applicationname is no option"),
        ("postgresql://u:{}@h/x?autocommit=1", "autocommit is no option"),
        ("postgresql://u:{}%00@h/x", "contains a NUL character"),
        ("mysql://u:{}@h/x", "is no database this catalogue knows"),
        ("postgresql+asyncpg://u:{}@h/x", "is no database this catalogue knows"),
        ("nonsense://", "is no database this catalogue knows"),
        ("sqlite://", "names no database"),
        ("sqlite:///:memory:", "is a database in memory"),
        ("sqlite:////folder/", "is a folder"),
    ],
)
def test_a_mistake_is_named(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^DATABASE_URL") as mistake:
        open_engine(url.format(SECRET))
    assert sentence in str(mistake.value)
    assert SECRET not in str(mistake.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h/x",
        "postgres://u:p@h:5432/x?sslmode=verify-full&application_name=x",
        "postgresql+psycopg://u:p%40%2F@[::1]:65535/x",
        "postgresql://u:p@/x?host=/var/run/postgresql",
        "postgresql://u:p@/x?host=a,b&port=1,2",
        "postgresql://u:p@/x?host=a:1&host=b:2",
    ],
)
def test_urls_of_postgresql_are_opened(url: str) -> None:
    assert parse_database_url(url).drivername == "postgresql+psycopg"
    open_engine(url).dispose()
