"""The storage spaces of a proxy that serves several of them on one port.

The called AE title of an association chooses its space. A key that an entry does not have is that
of the proxy; what limits the whole proxy is divided evenly, so that no space can use up what
another needs. Without `spaces`, the proxy's own settings are its only space.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr
from pydantic_settings import NoDecode

from dimse_ingestion.settings.entries import parse_entries
from dimse_ingestion.settings.rate_limit import NatsRateLimit
from dimse_ingestion.settings.types import (
    AeTitle,
    AeTitles,
    Compression,
    Count,
    Networks,
    Size,
    Subject,
)

_MOST = 64  # as many as worker processes have counts for (see `workers.counts`)
_EXAMPLE = "spaces like [{aeTitle: RADIOLOGY, natsSubjectRoot: RADIOLOGY}]"


class ProxySpace(BaseModel):
    """One storage space: the AE title that chooses it, its way to NATS, and who may associate."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    ae_title: AeTitle
    nats_subject_root: Subject
    nats_auth_token: SecretStr | None = None
    """The token, or the absolute path of the file or folder that holds it."""
    nats_rate_limit: NatsRateLimit | None = None
    nats_compression: Compression | None = None
    acknowledge: Literal["stored", "spooled"] | None = None
    """When a C-STORE is answered with success."""
    calling_ae_titles: AeTitles | None = None
    source_networks: Networks | None = None
    maximum_associations: Count | None = None
    spool_limit: Size | None = None

    def folder(self, directory: Path) -> Path:
        """Return the space's folder in one of the proxy's, whatever its AE title has."""
        return directory / f"space-{quote(self.ae_title, safe='')}"

    def own(self) -> dict[str, Any]:
        """Return what the entry has, by the name of the proxy's setting that it replaces."""
        given = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in given.items() if value is not None}


def check_spaces(spaces: Sequence[ProxySpace]) -> None:
    """Raise ValueError for too many spaces, and when two have one root, and so one inbox."""
    if len(spaces) > _MOST:
        raise ValueError(f"spaces has more than {_MOST} entries: start another proxy.")
    roots = [each.nats_subject_root for each in spaces]
    if duplicates := sorted({root for root in roots if roots.count(root) > 1}):
        raise ValueError(
            f"two entries of spaces have the natsSubjectRoot {duplicates[0]}: a space has one AE "
            "title; give each its own root."
        )


Spaces = Annotated[
    tuple[ProxySpace, ...],
    NoDecode,
    BeforeValidator(lambda value: parse_entries(value, ProxySpace, _EXAMPLE)),
]
