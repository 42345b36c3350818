"""A rendered pod laid out on this machine: its mounts as folders, its environment pointing there.

The content of the Secrets and ConfigMaps that a user makes is made up here.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from dimse_ingestion.settings import (
    CatalogueSettings,
    DicomwebSettings,
    IngestionSettings,
    ProxySettings,
    ServiceSettings,
)
from harness.chart.rendering import Pod, Rendering

SETTINGS_CLASSES: dict[str, type[ServiceSettings]] = {
    "ingestion": IngestionSettings,
    "catalogue": CatalogueSettings,
    "dicomweb": DicomwebSettings,
    "proxy": ProxySettings,
    "prove": ProxySettings,
}
"""The settings of each command."""

MADE_BY_USERS = {
    "bucket-config": {"BUCKET_NAME": "images", "BUCKET_HOST": "minio", "BUCKET_PORT": "9000"},
    "bucket-secret": {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"},
    "nats-token": {"nats.creds": "-----BEGIN NATS USER JWT-----"},
    "nats-ca": {"ca.crt": "authority"},
    "nats-client": {"tls.crt": "certificate", "tls.key": "key"},
    "catalogue-access": {"ca.crt": "authority", "token": "token"},
    "catalogue-certificate": {"tls.crt": "certificate", "tls.key": "key", "token": "token"},
    "event-sink-token": {"token": "token"},
    "event-sink-ca": {"ca.crt": "authority"},
    "database": {"DATABASE_URL": "postgresql+psycopg://catalogue@database/catalogue"},
    "dicom-tls": {"tls.crt": "certificate", "tls.key": "key"},
    "dicom-client-ca": {"ca.crt": "authority"},
    "dicom-peer-ca": {"ca.crt": "authority"},
}
"""The content of each volume, by its name."""


@dataclass(frozen=True)
class MountedPod:
    """A pod's mounts below `root`; `rendering` has the ConfigMaps that its release brings."""

    pod: Pod
    rendering: Rendering
    root: Path

    def mount(self, *missing: str) -> None:
        """Create every volume's files; those named `missing` stay empty, as optional ones do."""
        for mount in self.pod.container["volumeMounts"]:
            folder = self.path(mount["mountPath"])
            folder.mkdir(parents=True, exist_ok=True)
            content = {} if mount["name"] in missing else self._content(mount["name"])
            for key, text in content.items():
                (folder / key).write_text(text, encoding="utf-8")

    def settings(self, monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
        """Return the settings as the pod's command loads them; may raise ConfigurationMistake."""
        settings_class = self.settings_class
        for name in settings_class.names().values():
            monkeypatch.delenv(name, raising=False)
        for name, value in self.pod.environment.items():
            monkeypatch.setenv(name, str(self.path(value)) if value.startswith("/") else value)
        return settings_class.load(self._file())

    @property
    def settings_class(self) -> type[ServiceSettings]:
        """The settings class of the pod's command."""
        return SETTINGS_CLASSES[self.pod.container["args"][0]]

    def path(self, path: str) -> Path:
        """Return the local path of a path in the container."""
        return self.root / path.removeprefix("/")

    def _content(self, volume: str) -> dict[str, str]:
        config_map = self.pod.volume(volume).get("configMap", {}).get("name")
        for each in self.rendering.of_kind("ConfigMap"):
            if each["metadata"]["name"] == config_map:
                return {key: self._here(text) for key, text in each["data"].items()}
        return MADE_BY_USERS.get(volume, {})

    def _here(self, text: str) -> str:
        """Return a file of ours with its paths below the root."""
        for folder in ("/etc/dicom-tls", "/var/lib"):
            text = text.replace(folder, str(self.path(folder)))
        return text

    def _file(self) -> Path | None:
        arguments = self.pod.container["args"]
        if "--config" not in arguments:
            return None
        return self.path(arguments[arguments.index("--config") + 1])
