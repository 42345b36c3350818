"""Each mistake between values ends in its own sentence, and no sentence goes untested."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from harness.chart import CHART
from harness.chart.changing import merged
from harness.chart.rendering import Refused, rendered, shipped_values

SPACE = shipped_values("ci/minimal-values.yaml")
PROXY = {"enabled": True, "proxyId": "ward7"}

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "nothing runs": (
        {"ingestion": {"enabled": False}, "catalogue": {"enabled": False}},
        "Nothing is enabled: set ingestion.enabled, ",
    ),
    "no ConfigMap of the bucket": ({"bucketConfigName": ""}, "bucketConfigName is missing: "),
    "no Secret of the bucket": ({"bucketSecretName": ""}, "bucketSecretName is missing: "),
    "no provider": ({"providerName": ""}, "providerName is missing: "),
    "no NATS": ({"natsUrl": ""}, "natsUrl is missing: "),
    "proxy without id": ({"proxy": {"enabled": True}}, "proxy.proxyId is missing: "),
    "journal that is lost with its pod": (
        {"proxy": {**PROXY, "settings": {"storageCommitment": {"enabled": True}}}},
        "proxy.settings.storageCommitment would lose its journal with the pod: ",
    ),
    "journal on a volume that is made for each pod": (
        {
            "proxy": PROXY
            | {
                "settings": {"storageCommitment": {"enabled": True}},
                "spoolVolume": {"ephemeral": {"volumeClaimTemplate": {}}},
            }
        },
        "proxy.settings.storageCommitment would lose its journal with the pod: ",
    ),
    "no catalogue": ({"catalogue": {"enabled": False}}, "There is no catalogue: "),
    "only half of a foreign catalogue": (
        {"catalogue": {"enabled": False}, "eventSink": "http://broker"},
        "There is no catalogue: ",
    ),
    "two catalogues": (
        {"catalogue": {"enabled": True}, "dicomEventDrivenIngestionName": "core"},
        "There are two catalogues: leave catalogue.enabled at auto to use that of release core, ",
    ),
    "two writers of one file": (
        {"catalogue": {"replicas": 2}},
        "catalogue.replicas is 2, but SQLite allows one: ",
    ),
    "catalogue that forgets": (
        {"catalogue": {"persistence": {"enabled": False}}},
        "The catalogue would lose all entries at a restart: ",
    ),
    "password in the address": (
        {"natsUrl": "tls://user:secret@nats:4222"},
        "natsUrl contains a credential: ",
    ),
    "no address": (
        {"natsUrl": "nats.example.org:4222,http://nats"},
        'natsUrl has "http://nats", which is not an address: ',
    ),
    "TLS asked for and switched off": (
        {"natsUrl": "wss://nats", "natsSecure": False},
        "natsUrl requires TLS (wss://nats) but natsSecure is false: ",
    ),
    "TLS switched on and not asked for": (
        {"natsUrl": "nats://nats:4222"},
        "natsUrl has no TLS (nats://nats:4222) but natsSecure is true: ",
    ),
    "client certificate without TLS": (
        {"natsSecure": False, "natsClientCertificateSecret": "client"},
        "natsClientCertificateSecret needs TLS: ",
    ),
    "authority without TLS": (
        {"natsSecure": False, "natsCaSecret": "ca"},
        "natsCaSecret needs TLS: ",
    ),
    "the catalogue's token without TLS": (
        {"catalogueSecret": "own", "queryEndpoint": "http://catalogue.example.org"},
        "catalogueSecret has a token, and queryEndpoint (http://catalogue.example.org) has no TLS",
    ),
    "the catalogue's Secret without TLS": (
        {"catalogueSecret": "own", "catalogueSecure": False},
        "catalogueSecret needs TLS: ",
    ),
    "a sink's token without a sink": (
        {"eventSinkTokenSecret": "broker"},
        "eventSinkTokenSecret needs an event sink with TLS: ",
    ),
    "a sink's authority without TLS": (
        {"eventSinkCaSecret": "broker", "eventSink": "http://broker.example.org"},
        "eventSinkCaSecret needs an event sink with TLS: ",
    ),
    "authority of an audit repository without TLS": (
        {"audit": {"repository": "udp://arr.example.org", "caSecret": "arr-ca"}},
        "audit.caSecret needs a repository with TLS: ",
    ),
    "client certificate without an audit repository": (
        {"audit": {"clientCertificateSecret": "arr-client"}},
        "audit.clientCertificateSecret needs a repository with TLS: ",
    ),
    "audit repository of services that report nothing": (
        {"audit": {"repository": "tls://arr.example.org"}, "dicomweb": {"enabled": False}},
        "audit.repository gets nothing from this release: ",
    ),
    "AE title too long": (
        {"applicationEntityTitle": "SEVENTEEN-LETTERS"},
        'applicationEntityTitle "SEVENTEEN-LETTERS" is not an AE title: ',
    ),
    "AE title of nothing but spaces": (
        {"applicationEntityTitle": "   "},
        "applicationEntityTitle has only spaces: ",
    ),
    "authority for modalities without a certificate": (
        {"proxy": PROXY | {"tlsClientCaSecret": "ca"}},
        "proxy.tlsClientCaSecret needs a certificate of the proxy: ",
    ),
    "images answered as stored on a volume of the pod": (
        {"proxy": PROXY | {"settings": {"acknowledge": "spooled"}}},
        "proxy.settings.acknowledge is spooled, but proxy.spoolVolume is deleted with the pod, ",
    ),
    "images answered as stored on a volume that is made for each pod": (
        {
            "proxy": PROXY
            | {
                "settings": {"acknowledge": "spooled"},
                "spoolVolume": {"ephemeral": {"volumeClaimTemplate": {}}},
            }
        },
        "proxy.settings.acknowledge is spooled, but proxy.spoolVolume is deleted with the pod, ",
    ),
    "images of one space answered as stored on a volume of the pod": (
        {
            "proxy": PROXY
            | {
                "settings": {
                    "spaces": [
                        {"aeTitle": "CT", "natsSubjectRoot": "CT", "acknowledge": "spooled"},
                        {"aeTitle": "MR", "natsSubjectRoot": "MR"},
                    ]
                }
            }
        },
        "acknowledge of CT in proxy.settings.spaces is spooled, but proxy.spoolVolume is deleted ",
    ),
    "images answered as stored by a variable on a volume of the pod": (
        {"proxy": PROXY | {"extraEnv": [{"name": "DIMSE_ACKNOWLEDGE", "value": "spooled"}]}},
        "DIMSE_ACKNOWLEDGE in proxy.extraEnv is spooled, but proxy.spoolVolume is deleted ",
    ),
    "two proxies of one id": (
        {"proxy": PROXY, "test": {"proxyId": "ward7"}},
        "proxy.proxyId and test.proxyId are both ward7: ",
    ),
    "Ingress without host": (
        {"dicomweb": {"enabled": True, "ingress": {"enabled": True}}},
        "dicomweb.ingress.host is missing: ",
    ),
    "Ingress to nothing": (
        {
            "dicomweb": {
                "enabled": False,
                "ingress": {"enabled": True, "host": "images.example.org"},
            }
        },
        "dicomweb.ingress has no DICOMweb service: ",
    ),
    "Prometheus shut out": (
        {"serviceMonitor": {"enabled": True}},
        "Prometheus could not reach the catalogue: ",
    ),
    "most below fewest": (
        {"ingestion": {"autoscaling": {"enabled": True, "minReplicas": 7}}},
        "ingestion.autoscaling.maxReplicas (6) is less than minReplicas (7): ",
    ),
    "nodes never drained": (
        {"ingestion": {"podDisruptionBudget": {"minAvailable": 2}}},
        "ingestion.podDisruptionBudget.minAvailable (2) of 2 blocks the drain of every node: ",
    ),
    "nodes never drained, by percentage": (
        {"ingestion": {"podDisruptionBudget": {"minAvailable": "100%"}}},
        "ingestion.podDisruptionBudget.minAvailable (100%) of 2 blocks the drain of every node: ",
    ),
    "nodes never drained, by a percentage that is rounded up": (
        {"ingestion": {"podDisruptionBudget": {"minAvailable": "60%"}}},
        "ingestion.podDisruptionBudget.minAvailable (60%) of 2 blocks the drain of every node: ",
    ),
    "catalogue of its own, by name": (
        {"dicomEventDrivenIngestionName": "radiology"},
        "dicomEventDrivenIngestionName is this release itself, ",
    ),
    "catalogue of its own, by name and namespace": (
        {"dicomEventDrivenIngestionName": "radiology.imaging"},
        "dicomEventDrivenIngestionName is this release itself, ",
    ),
    "event sink not let out": (
        {"eventSink": "http://broker:8080", "networkPolicy": {"egress": {"enabled": True}}},
        "networkPolicy.egress.extra has no rule for eventSink (http://broker:8080): ",
    ),
    "traces not let out": (
        {"otlpEndpoint": "http://otel:4318", "networkPolicy": {"egress": {"enabled": True}}},
        "networkPolicy.egress.extra has no rule for otlpEndpoint (http://otel:4318): ",
    ),
    "keys of tokens not let out": (
        {
            "dicomweb": {"settings": {"DICOMWEB_JWKS_URL": "https://login/keys"}},
            "networkPolicy": {"egress": {"enabled": True}},
        },
        "networkPolicy.egress.extra has no rule for dicomweb.settings.DICOMWEB_JWKS_URL (",
    ),
    "port on nodes of a Service that has none": (
        {"dicomweb": {"service": {"nodePort": 30081}}},
        "dicomweb.service.nodePort needs another type of Service: ",
    ),
    "label that the chart sets": (
        {"commonLabels": {"app.kubernetes.io/version": "2"}},
        "commonLabels has app.kubernetes.io/version, ",
    ),
    "label by which pods are found": (
        {"ingestion": {"podLabels": {"app.kubernetes.io/component": "other"}}},
        "ingestion.podLabels has app.kubernetes.io/component, ",
    ),
    "folder over what a pod has": (
        {"bucketFolder": {"volume": {"emptyDir": {}}, "mountPath": "/tmp"}},
        "bucketFolder.mountPath /tmp would hide files of the pods: ",
    ),
    "volume of the pod's own name": (
        {"catalogue": {"extraVolumes": [{"name": "data", "emptyDir": {}}]}},
        "catalogue.extraVolumes has a volume named data, ",
    ),
    "two volumes of one name": (
        {"dicomweb": {"extraVolumes": [{"name": "a", "emptyDir": {}}] * 2}},
        "dicomweb.extraVolumes has a volume named a, ",
    ),
    "mount over another": (
        {
            "ingestion": {
                "extraVolumes": [{"name": "a", "emptyDir": {}}],
                "extraVolumeMounts": [{"name": "a", "mountPath": "/etc/bucket/config"}],
            }
        },
        "ingestion.extraVolumeMounts mounts /etc/bucket/config, where a volume is mounted ",
    ),
    "mount of nothing": (
        {"ingestion": {"extraVolumeMounts": [{"name": "a", "mountPath": "/a"}]}},
        "ingestion.extraVolumeMounts mounts a, which does not exist: ",
    ),
    "no port": (
        {"natsUrl": "nats.example.org:99999"},
        'natsUrl has "nats.example.org:99999", which is not an address: ',
    ),
    "own variable twice": (
        {"ingestion": {"extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}},
        "ingestion.extraEnv sets A twice: ",
    ),
    "variable set twice": (
        {"ingestion": {"extraEnv": [{"name": "DIMSE_NATS_URL", "value": "other"}]}},
        "ingestion.extraEnv sets DIMSE_NATS_URL, which the chart sets: ",
    ),
    "setting and variable": (
        {
            "catalogue": {
                "settings": {"DIMSE_COMMIT_SIZE": 10},
                "extraEnv": [{"name": "DIMSE_COMMIT_SIZE", "value": "20"}],
            }
        },
        "catalogue.extraEnv sets DIMSE_COMMIT_SIZE, which the chart sets: ",
    ),
}


def _refusal(mistaken: dict[str, Any]) -> list[str]:
    with pytest.raises(Refused) as refused:
        rendered(SPACE | mistaken)
    return refused.value.sentences


@pytest.mark.parametrize(("mistaken", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_reported_alone_and_with_a_cure(mistaken: dict[str, Any], sentence: str) -> None:
    (output,) = _refusal(mistaken)
    assert output.startswith(sentence)
    assert output.endswith((".", ")."))
    assert ": " in output


@pytest.mark.parametrize(
    "values",
    [
        {"ingestion": {"podDisruptionBudget": {"minAvailable": "50%"}}},
        {"ingestion": {"autoscaling": {"enabled": True}}, "replicas": 1},
        {"dicomEventDrivenIngestionName": "radiology.elsewhere"},
        {"catalogue": {"enabled": False}, "dicomEventDrivenIngestionName": "radiology"},
        {"bucketFolder": {"volume": {"emptyDir": {}}, "mountPath": "/var/lib/dimse-images"}},
        {"natsUrl": "nats:65535,[fd00::1]:4222"},
        {
            "proxy": {
                **PROXY,
                "settings": {"storageCommitment": {"enabled": True}},
                "spoolVolume": {"persistentVolumeClaim": {"claimName": "ward7"}},
            }
        },
        {"proxy": {**PROXY, "settings": {"storageCommitment": {"enabled": False}}}},
        {
            "proxy": PROXY
            | {
                "settings": {"acknowledge": "spooled"},
                "spoolVolume": {"persistentVolumeClaim": {"claimName": "spool"}},
            }
        },
        {"proxy": PROXY | {"settings": {"acknowledge": "stored"}}},
        {
            "proxy": PROXY
            | {
                "settings": {
                    "spaces": [{"aeTitle": "CT", "natsSubjectRoot": "CT", "acknowledge": "stored"}]
                }
            }
        },
    ],
    ids=str,
)
def test_what_is_only_near_a_mistake_is_taken(values: dict[str, Any]) -> None:
    assert rendered(SPACE | values).manifests


@pytest.mark.parametrize("component", ["ingestion", "dicomweb"])
def test_nothing_is_a_mistake_of_what_does_not_run(component: str) -> None:
    """A file of values may be shared by a catalogue and its spaces."""
    shared = {component: {"podDisruptionBudget": {"minAvailable": 2}}}
    assert rendered(merged(shipped_values("ci/core-only-values.yaml"), shared)).manifests


def test_mistakes_are_reported_all_at_once() -> None:
    output = _refusal({"providerName": "", "natsUrl": "", "applicationEntityTitle": ""})
    assert len(output) == 3


def test_no_sentence_goes_untested() -> None:
    output = [sentence for mistaken, _ in MISTAKES.values() for sentence in _refusal(mistaken)]
    untested = [
        sentence
        for sentence in _template_sentences()
        if not any(re.fullmatch(_pattern(sentence), each) for each in output)
    ]
    assert not untested


def test_mistakes_fail_in_one_place() -> None:
    failing = [
        str(file.relative_to(CHART))
        for file in (CHART / "templates").rglob("*")
        if file.is_file() and re.search(r"\b(fail|required)\b [\"(]", file.read_text())
    ]
    assert failing == ["templates/validate.yaml"]


def _template_sentences() -> Iterator[str]:
    """Yield the lines of the mistakes' templates that are neither comment nor control."""
    for file in (CHART / "templates").glob("_mistakes*.tpl"):
        text = re.sub(r"\{\{-?/\*.*?\*/-?\}\}", "", file.read_text(), flags=re.DOTALL)
        yield from (line for line in text.splitlines() if line and not line.startswith("{{-"))


def _pattern(sentence: str) -> str:
    """Return a pattern for the sentences that a template's line may make."""
    return ".+".join(re.escape(part) for part in re.split(r"\{\{.*?\}\}", sentence))
