{{/* What follows from the storage space's values: which catalogue, which addresses. */}}

{{/* "true" where this release runs a catalogue, else empty. */}}
{{- define "dimse-ingestion.ownCatalogue" -}}
{{- if eq (toString .Values.catalogue.enabled) "auto" }}
{{- if not .Values.dicomEventDrivenIngestionName }}true{{ end }}
{{- else if .Values.catalogue.enabled }}true{{ end }}
{{- end }}

{{/* "true" if dicomEventDrivenIngestionName is this release. */}}
{{- define "dimse-ingestion.namesItself" -}}
{{- $parts := splitList "." .Values.dicomEventDrivenIngestionName }}
{{- $name := first $parts | include "dimse-ingestion.shortened" }}
{{- if and (eq $name (include "dimse-ingestion.fullname" .)) (has (rest $parts | join ".") (list "" .Release.Namespace)) }}true{{ end }}
{{- end }}

{{/* "true" where that catalogue keeps SQLite's file. */}}
{{- define "dimse-ingestion.sqlite" -}}
{{- if not .Values.catalogue.database.secretName }}true{{ end }}
{{- end }}

{{/* "true" if a component of this release uses the bucket. */}}
{{- define "dimse-ingestion.storageSpace" -}}
{{- if or .Values.ingestion.enabled (include "dimse-ingestion.hasDicomweb" .) }}true{{ end }}
{{- end }}

{{/* "true" where this release runs the DICOMweb ingestion service, else empty. */}}
{{- define "dimse-ingestion.hasDicomweb" -}}
{{- if eq (toString .Values.dicomweb.enabled) "auto" }}
{{- if .Values.ingestion.enabled }}true{{ end }}
{{- else if .Values.dicomweb.enabled }}true{{ end }}
{{- end }}

{{/* "true" if DICOMweb is exposed outside the cluster without authentication. */}}
{{- define "dimse-ingestion.openDicomweb" -}}
{{- $own := .Values.dicomweb }}
{{- $out := or $own.ingress.enabled (ne $own.service.type "ClusterIP") }}
{{- $authenticates := has (get $own.settings "DICOMWEB_AUTH") (list "bearer" "header") }}
{{- if and (include "dimse-ingestion.hasDicomweb" .) $out (not $authenticates) }}true{{ end }}
{{- end }}

{{- define "dimse-ingestion.eventSink" -}}
{{- .Values.eventSink | default (printf "%s/events" (include "dimse-ingestion.catalogueUrl" .)) }}
{{- end }}

{{- define "dimse-ingestion.queryEndpoint" -}}
{{- .Values.queryEndpoint | default (include "dimse-ingestion.catalogueUrl" .) }}
{{- end }}

{{- define "dimse-ingestion.wadoInternalEndpoint" -}}
{{- if .Values.wadoInternalEndpoint }}
{{- .Values.wadoInternalEndpoint }}
{{- else if include "dimse-ingestion.hasDicomweb" . }}
{{- printf "http://%s-dicomweb.%s:%v/dicomweb" (include "dimse-ingestion.fullname" .) .Release.Namespace .Values.dicomweb.service.port }}
{{- end }}
{{- end }}

{{- define "dimse-ingestion.wadoExternalEndpoint" -}}
{{- $ingress := .Values.dicomweb.ingress }}
{{- if .Values.wadoExternalEndpoint }}
{{- .Values.wadoExternalEndpoint }}
{{- else if and (include "dimse-ingestion.hasDicomweb" .) $ingress.enabled }}
{{- printf "%s/dicomweb" (include "dimse-ingestion.dicomweb.ingressAddress" .) }}
{{- end }}
{{- end }}

{{/* "true" where an address has a TLS scheme, or has none and natsSecure is true. */}}
{{- define "dimse-ingestion.natsTls" -}}
{{- range splitList "," .Values.natsUrl }}
{{- if or (hasPrefix "tls://" (trim .)) (hasPrefix "wss://" (trim .)) (and $.Values.natsSecure (not (contains "://" .))) }}true{{ end }}
{{- end }}
{{- end }}

{{/* The ports in natsUrl, as JSON: where its scheme's own is meant, that. */}}
{{- define "dimse-ingestion.natsPorts" -}}
{{- $ports := list }}
{{- range splitList "," .Values.natsUrl }}
{{- $own := ternary 443 (ternary 80 4222 (hasPrefix "ws://" (trim .))) (hasPrefix "wss://" (trim .)) }}
{{- $written := regexFind ":[0-9]+/?$" (trim .) | trimPrefix ":" | trimSuffix "/" }}
{{- $ports = append $ports (ternary $own (int $written) (eq $written "")) }}
{{- end }}
{{- uniq $ports | toJson }}
{{- end }}

{{/* "true" where this release has the component `component`. */}}
{{- define "dimse-ingestion.has" -}}
{{- if eq .component "catalogue" }}
{{- include "dimse-ingestion.ownCatalogue" .root }}
{{- else if eq .component "dicomweb" }}
{{- include "dimse-ingestion.hasDicomweb" .root }}
{{- else if (index .root.Values .component).enabled }}true{{ end }}
{{- end }}
