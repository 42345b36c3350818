{{/* Errors between values, one line each: what is wrong, and what to do. values.schema.json checks
     each value by itself. `validate.yaml` fails with all errors at once. */}}

{{- define "dimse-ingestion.mistakes" -}}
{{- include "dimse-ingestion.mistakes.required" . }}
{{- include "dimse-ingestion.mistakes.catalogue" . }}
{{- include "dimse-ingestion.mistakes.access" . }}
{{- include "dimse-ingestion.mistakes.nats" . }}
{{- include "dimse-ingestion.mistakes.components" . }}
{{- include "dimse-ingestion.mistakes.everywhere" . }}
{{- include "dimse-ingestion.mistakes.egress" . }}
{{- range $component := list "ingestion" "catalogue" "dicomweb" }}
{{- if include "dimse-ingestion.has" (dict "root" $ "component" $component) }}
{{- include "dimse-ingestion.mistakes.availability" (dict "root" $ "component" $component) }}
{{- end }}
{{- end }}
{{- range $component := list "ingestion" "catalogue" "dicomweb" "proxy" }}
{{- include "dimse-ingestion.mistakes.pod" (dict "root" $ "component" $component) }}
{{- end }}
{{- end }}

{{- define "dimse-ingestion.mistakes.required" -}}
{{- $v := .Values }}
{{- $own := include "dimse-ingestion.ownCatalogue" . }}
{{- $nothing := not (or $v.ingestion.enabled (include "dimse-ingestion.hasDicomweb" .) $v.proxy.enabled $own) }}
{{- if $nothing }}
Nothing is enabled: set ingestion.enabled, catalogue.enabled, dicomweb.enabled or proxy.enabled to true.
{{- end }}
{{- if include "dimse-ingestion.storageSpace" . }}
{{- if not $v.bucketConfigName }}
bucketConfigName is missing: name the ConfigMap that has BUCKET_NAME and, for a store other than AWS, BUCKET_HOST.
{{- end }}
{{- if not (or $v.bucketSecretName $v.bucketFolder.volume) }}
bucketSecretName is missing: name the Secret that has AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AZURE_STORAGE_CONNECTION_STRING; or give bucketFolder.volume.
{{- end }}
{{- if not $v.providerName }}
providerName is missing: set the name of this storage space in the catalogue.
{{- end }}
{{- end }}
{{- if and (or $v.ingestion.enabled $v.proxy.enabled) (not $v.natsUrl) }}
natsUrl is missing: set the address of NATS, like nats.example.org:4222.
{{- end }}
{{- if and $v.proxy.enabled (not $v.proxy.proxyId) }}
proxy.proxyId is missing: set the id that is part of the proxy's NATS permissions.
{{- end }}
{{- end }}

{{- define "dimse-ingestion.mistakes.catalogue" -}}
{{- $v := .Values }}
{{- $own := include "dimse-ingestion.ownCatalogue" . }}
{{- $elsewhere := or $v.dicomEventDrivenIngestionName (and $v.eventSink $v.queryEndpoint) }}
{{- if and (include "dimse-ingestion.storageSpace" .) (not $own) (not $elsewhere) }}
There is no catalogue: set catalogue.enabled to auto, or name the release that has one in dicomEventDrivenIngestionName.
{{- end }}
{{- if and (eq (toString $v.catalogue.enabled) "auto") (include "dimse-ingestion.namesItself" .) }}
dicomEventDrivenIngestionName is this release itself, which then runs no catalogue: clear it to run one, or name another release.
{{- end }}
{{- if and $own $v.dicomEventDrivenIngestionName }}
There are two catalogues: leave catalogue.enabled at auto to use that of release {{ $v.dicomEventDrivenIngestionName }}, or clear dicomEventDrivenIngestionName to run its own.
{{- end }}
{{- if and $own (include "dimse-ingestion.sqlite" .) }}
{{- if gt (int $v.catalogue.replicas) 1 }}
catalogue.replicas is {{ $v.catalogue.replicas }}, but SQLite allows one: set it to 1, or name a Secret with a PostgreSQL URL in catalogue.database.secretName.
{{- end }}
{{- if not $v.catalogue.persistence.enabled }}
The catalogue would lose all entries at a restart: set catalogue.persistence.enabled to true, or name a Secret with a PostgreSQL URL in catalogue.database.secretName.
{{- end }}
{{- end }}
{{- end }}

{{/* A token is sent over TLS only. */}}
{{- define "dimse-ingestion.mistakes.access" -}}
{{- $v := .Values }}
{{- if and $v.queryEndpoint $v.catalogueSecret $v.catalogueSecure (not (hasPrefix "https://" $v.queryEndpoint)) }}
catalogueSecret has a token, and queryEndpoint ({{ $v.queryEndpoint }}) has no TLS: write https://, or clear catalogueSecret.
{{- end }}
{{- if and $v.catalogueSecret (not $v.catalogueSecure) }}
catalogueSecret needs TLS: set catalogueSecure to true, or clear it.
{{- end }}
{{- range $name := list "eventSinkTokenSecret" "eventSinkCaSecret" }}
{{- if and (index $v $name) (not (hasPrefix "https://" $v.eventSink)) }}
{{ $name }} needs an event sink with TLS: set its URL, https://..., in eventSink, or clear {{ $name }}.
{{- end }}
{{- end }}
{{- end }}

{{- define "dimse-ingestion.mistakes.nats" -}}
{{- $v := .Values }}
{{- range $address := splitList "," $v.natsUrl }}
{{- $address = trim $address }}
{{- if contains "@" $address }}
natsUrl contains a credential: remove it and name the Secret with it in natsTokenSecret.
{{- else if or (not (regexMatch "^((nats|tls|ws|wss)://)?(\\[[0-9a-fA-F:]+\\]|[^][[:space:]/:,@]+)(:[1-9][0-9]{0,4})?/?$" $address)) (gt (int (regexFind ":[0-9]+/?$" $address | trimAll ":/")) 65535) }}
{{- if $v.natsUrl }}
natsUrl has {{ $address | quote }}, which is not an address: write host:port, tls://host:port, wss://host or nats://host:port, several separated by commas.
{{- end }}
{{- else if and (regexMatch "^(tls|wss)://" $address) (not $v.natsSecure) }}
natsUrl requires TLS ({{ $address }}) but natsSecure is false: set natsSecure to true, or write nats:// or ws://.
{{- else if and (regexMatch "^(nats|ws)://" $address) $v.natsSecure }}
natsUrl has no TLS ({{ $address }}) but natsSecure is true: write tls:// or wss://, or set natsSecure to false.
{{- end }}
{{- end }}
{{- if and $v.natsClientCertificateSecret $v.natsUrl (not (include "dimse-ingestion.natsTls" .)) }}
natsClientCertificateSecret needs TLS: set natsSecure to true, or clear it.
{{- end }}
{{- if and $v.natsCaSecret $v.natsUrl (not (include "dimse-ingestion.natsTls" .)) }}
natsCaSecret needs TLS: set natsSecure to true, or clear it.
{{- end }}
{{- end }}
