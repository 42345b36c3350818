"""Settings of the proxy, the AE in the imaging zone. None of them is a key of the cloud.

They can also be a YAML file (`proxy.yaml`), with these field names in snake or camel case.
"""

import re
import socket
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from dimse_ingestion.settings.audit import AuditSettings
from dimse_ingestion.settings.modalities import Modalities
from dimse_ingestion.settings.nats_sending import NatsSendingSettings
from dimse_ingestion.settings.peers import Peer, Peers, Right
from dimse_ingestion.settings.spaces import Spaces, check_spaces
from dimse_ingestion.settings.state import state_directory
from dimse_ingestion.settings.types import (
    AeTitle,
    AeTitles,
    Count,
    Host,
    Networks,
    OptionalFile,
    Port,
    Seconds,
    Size,
    SubjectToken,
    Uids,
    Workers,
)

_RELOADABLE = frozenset(
    {
        "calling_ae_titles",
        "source_networks",
        "image_sop_classes",
        "transfer_syntaxes",
        "modalities",
        "peers",
        "peer_ca_path",
        "spaces",
        "nats_auth_token",
        "nats_rate_limit",
        "nats_rate_limit_time_zone",
        "nats_compression",
        "tls_certificate_path",
        "tls_key_path",
        "tls_client_ca_path",
        "maximum_associations",
        "spool_memory_in_all",
        "spool_limit",
    }
)
"""What a reload changes (see `proxy.reload`); other settings need a restart."""


def _host_as_token() -> str:
    """Return the host's name, with what a NATS subject can't contain replaced."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64] or "proxy"


_OUTBOX = "outbox"


class ProxySettings(NatsSendingSettings, AuditSettings):
    """The proxy's settings."""

    other_names = {"DIMSE_AE_TITLE": "ae_title"}  # noqa: RUF012 - is a ClassVar of the base

    proxy_id: SubjectToken = Field(
        default_factory=_host_as_token, validation_alias="DIMSE_PROXY_ID"
    )
    """The part of this proxy's subjects that differs from other proxies on the same root."""

    workers: Workers = Field(default=1, validation_alias="DIMSE_WORKERS")
    """Processes that serve the port; limits apply to all of them together."""

    # the AE
    ae_title: AeTitle = Field(default="DICOM-INGEST", validation_alias="DIMSE_AE")
    host: Host = Field(default="0.0.0.0", validation_alias="DIMSE_HOST")  # noqa: S104 - modalities are other hosts
    port: Port = Field(default=11112, validation_alias="DIMSE_PORT")
    """The port; 0 takes a free port."""
    called_ae_title_must_match: bool = Field(
        default=True, validation_alias="DIMSE_CALLED_AE_TITLE_MUST_MATCH"
    )
    calling_ae_titles: AeTitles = Field(default=(), validation_alias="DIMSE_CALLING_AE_TITLES")
    """The allowed calling AE titles; empty allows every one."""
    source_networks: Networks = Field(default=(), validation_alias="DIMSE_SOURCE_NETWORKS")
    """The allowed networks; empty allows every address."""
    image_sop_classes: Uids = Field(default=(), validation_alias="DIMSE_IMAGE_SOP_CLASSES")
    """The accepted storage classes; empty accepts every one, private ones too."""
    transfer_syntaxes: Uids = Field(default=(), validation_alias="DIMSE_TRANSFER_SYNTAXES")
    """The accepted transfer syntaxes; empty accepts every one."""

    modalities: Modalities = Field(default=(), validation_alias="DIMSE_MODALITIES")
    """The modalities that metrics name, and how often each is expected to send."""

    spaces: Spaces = Field(default=(), validation_alias="DIMSE_SPACES")
    """The storage spaces on this port, if there are several; see `storage_spaces`."""

    # DICOM TLS
    tls_certificate_path: OptionalFile = Field(
        default=None, validation_alias="DIMSE_TLS_CERTIFICATE_PATH"
    )
    """Certificate chain (PEM); if set, the DIMSE port requires TLS."""
    tls_key_path: OptionalFile = Field(default=None, validation_alias="DIMSE_TLS_KEY_PATH")
    tls_client_ca_path: OptionalFile = Field(
        default=None, validation_alias="DIMSE_TLS_CLIENT_CA_PATH"
    )
    """If set, a modality must present a certificate of this CA."""

    # other AEs
    peers: Peers = Field(default=(), validation_alias="DIMSE_PEERS")
    """The AEs with rights beyond storing and queries, and those that this proxy connects to."""
    peer_ca_path: OptionalFile = Field(default=None, validation_alias="DIMSE_PEER_CA_PATH")
    """The CA (PEM) of the certificates of peers with `tls`; None: the system's CAs."""

    # storage commitment
    storage_commitment_enabled: bool = Field(
        default=False, validation_alias="DIMSE_STORAGE_COMMITMENT_ENABLED"
    )
    """Whether peers with the right `commit` may request storage commitment (PS3.4 annex J)."""
    storage_commitment_grace: Seconds = Field(
        default=300.0, validation_alias="DIMSE_STORAGE_COMMITMENT_GRACE"
    )
    """Seconds after which an instance that is missing is looked for again, then fails."""
    storage_commitment_retry_for: Seconds = Field(
        default=7 * 24 * 3600.0, validation_alias="DIMSE_STORAGE_COMMITMENT_RETRY_FOR"
    )
    """Seconds for which a report is sent again, and for which a check is repeated."""
    storage_commitment_verify: Literal["size", "digest"] = Field(
        default="size", validation_alias="DIMSE_STORAGE_COMMITMENT_VERIFY"
    )
    """What is compared of an object: its size, or the digest of its data set, which reads it."""
    storage_commitment_directory: Path = Field(
        default_factory=lambda: state_directory("commitment"),
        validation_alias="DIMSE_STORAGE_COMMITMENT_DIRECTORY",
    )
    """The journal of transactions."""

    # C-MOVE and C-GET
    retrieve_enabled: bool = Field(default=False, validation_alias="DIMSE_RETRIEVE_ENABLED")
    """True serves retrieves to peers that have the right `move` or `get`."""
    retrieve_maximum_operations: Count = Field(
        default=20, validation_alias="DIMSE_RETRIEVE_MAXIMUM_OPERATIONS"
    )
    """The most retrieves at once; a further one is answered A702."""
    retrieve_pending_interval: Seconds = Field(
        default=2.0, validation_alias="DIMSE_RETRIEVE_PENDING_INTERVAL"
    )
    """Between two pending responses, at least."""
    retrieve_maximum_instances: int = Field(
        default=65_535, ge=1, le=65_535, validation_alias="DIMSE_RETRIEVE_MAXIMUM_INSTANCES"
    )
    """The most instances of a retrieve; one with more is answered A701."""
    retrieve_assume_get_roles: bool = Field(
        default=False, validation_alias="DIMSE_RETRIEVE_ASSUME_GET_ROLES"
    )
    """True sends C-GET sub-operations also to peers that negotiate no SCP role."""

    # limits
    maximum_associations: Count = Field(default=64, validation_alias="DIMSE_MAXIMUM_ASSOCIATIONS")
    maximum_pdu_length: Size = Field(
        default=128 * 1024, validation_alias="DIMSE_MAXIMUM_PDU_LENGTH"
    )
    """Bytes of the longest P-DATA-TF this AE accepts (PS3.8 D.1)."""
    maximum_matches: Count = Field(default=10_000, validation_alias="DIMSE_MAXIMUM_MATCHES")
    """The most matches of a C-FIND; one with more ends with A700."""
    maximum_identifier_length: Size = Field(
        default=1024 * 1024, validation_alias="DIMSE_MAXIMUM_IDENTIFIER_LENGTH"
    )

    # timeouts, in seconds
    artim_timeout: Seconds = Field(default=30.0, validation_alias="DIMSE_ARTIM_TIMEOUT")
    association_idle_timeout: Seconds = Field(
        default=300.0, validation_alias="DIMSE_ASSOCIATION_IDLE_TIMEOUT"
    )
    """Without a message from the peer, an association is aborted."""
    message_timeout: Seconds = Field(default=60.0, validation_alias="DIMSE_MESSAGE_TIMEOUT")
    """Without a byte from the peer within a message, its association is aborted."""
    write_timeout: Seconds = Field(default=60.0, validation_alias="DIMSE_WRITE_TIMEOUT")
    """A peer that reads nothing for this time is aborted."""
    operation_timeout: Seconds = Field(default=50.0, validation_alias="DIMSE_OPERATION_TIMEOUT")
    """From the last byte of a data set until A700."""

    # when a C-STORE is answered with success
    acknowledge: Literal["stored", "spooled"] = Field(
        default="stored", validation_alias="DIMSE_ACKNOWLEDGE"
    )
    """`stored`: in the bucket and the catalogue; `spooled`: durable in the spool directory."""
    forward_parallel: Count = Field(default=8, validation_alias="DIMSE_FORWARD_PARALLEL")
    """The most data sets forwarded from the spool at once."""

    # the spool
    spool_directory: Path = Field(
        default_factory=lambda: state_directory("spool"),
        validation_alias="DIMSE_SPOOL_DIRECTORY",
    )
    spool_memory: Size = Field(default=4 * 2**20, validation_alias="DIMSE_SPOOL_MEMORY")
    """Bytes of one data set held in memory; a longer one goes to a file."""
    spool_memory_in_all: Size = Field(
        default=64 * 2**20, validation_alias="DIMSE_SPOOL_MEMORY_IN_ALL"
    )
    """Bytes of all data sets held in memory; beyond, short ones go to files too."""
    spool_limit: Size = Field(default=16 * 2**30, validation_alias="DIMSE_SPOOL_LIMIT")
    """The most bytes of all files of the spool together."""
    spool_high_water: float = Field(
        default=0.9, gt=0, le=1, validation_alias="DIMSE_SPOOL_HIGH_WATER"
    )
    """The part of the limit above which no new association is accepted."""

    @property
    def reloadable_files(self) -> tuple[Path, ...]:
        """The files whose change is a reason to reload."""
        certificates = (self.tls_certificate_path, self.tls_key_path, self.tls_client_ca_path)
        return tuple(each for each in (self.file, *certificates, self.peer_ca_path) if each)

    def differences(self, other: Self) -> tuple[list[str], list[str]]:
        """Return the settings that another's differ in: those that can be taken over, the rest."""
        fields = type(self).model_fields
        differing = [each for each in fields if getattr(self, each) != getattr(other, each)]
        changed = [each for each in differing if each in _RELOADABLE]
        return changed, [each for each in differing if each not in _RELOADABLE]

    def take_over(self, other: Self) -> None:
        """Change what a reload may change, for everything that has these settings."""
        for name in _RELOADABLE:
            self.__dict__[name] = getattr(other, name)

    @property
    def storage_spaces(self) -> tuple[Self, ...]:
        """The settings of each storage space; without `spaces`, these settings alone."""
        number = len(self.spaces)
        return tuple(
            self.model_copy(
                update={
                    "spaces": (),
                    "maximum_associations": max(1, self.maximum_associations // number),
                    "spool_memory_in_all": self.spool_memory_in_all // number,
                    "spool_limit": self.spool_limit // number,
                    "nats_rate_limit": self.nats_rate_limit.divided(number),
                    "spool_directory": each.folder(self.spool_directory),
                    "storage_commitment_directory": each.folder(self.storage_commitment_directory),
                    **each.own(),
                }
            )
            for each in self.spaces
        ) or (self,)

    @model_validator(mode="after")
    def _spaces_are_chosen_by_their_titles(self) -> Self:
        check_spaces(self.spaces)
        if self.spaces and not self.called_ae_title_must_match:
            raise ValueError(
                "DIMSE_CALLED_AE_TITLE_MUST_MATCH must be true with spaces: the called AE title "
                "chooses the space."
            )
        if self.spaces and "ae_title" in self.model_fields_set:
            raise ValueError(
                "DIMSE_AE and spaces exclude each other: give each AE title in spaces."
            )
        return self

    def outbox_directory(self, worker: int) -> Path:
        """Return the folder of what a worker has answered with success and not forwarded yet."""
        return self.spool_directory / (_OUTBOX if worker == 1 else f"{_OUTBOX}-{worker}")

    def outbox_directories(self) -> dict[int, Path]:
        """Return the existing folders of this kind by the worker's number."""
        found = {}
        for path in self.spool_directory.glob(f"{_OUTBOX}*"):
            number = path.name.removeprefix(_OUTBOX)
            if not number or re.fullmatch(r"-[2-9]|-[1-9][0-9]+", number):
                found[int(number[1:] or 1)] = path
        return dict(sorted(found.items()))

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if bool(self.tls_certificate_path) != bool(self.tls_key_path):
            raise ValueError(
                "DIMSE_TLS_CERTIFICATE_PATH and DIMSE_TLS_KEY_PATH belong together: set both."
            )
        if self.tls_client_ca_path and not self.tls_certificate_path:
            raise ValueError(
                "DIMSE_TLS_CLIENT_CA_PATH needs a certificate of this AE: set "
                "DIMSE_TLS_CERTIFICATE_PATH and DIMSE_TLS_KEY_PATH."
            )
        return self

    def may(self, ae_title: str, right: Right) -> bool:
        """Return whether the peer with this AE title has a right."""
        peer = self.peer(ae_title)
        return peer is not None and right in peer.may

    def peer(self, ae_title: str) -> Peer | None:
        """Return the peer with this AE title, or None."""
        return next((peer for peer in self.peers if peer.ae_title == ae_title), None)
