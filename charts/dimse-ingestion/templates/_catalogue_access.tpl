{{/* The catalogue's address, and the Secret by which both sides authenticate. */}}

{{/* Its host name for the pods of this release. */}}
{{- define "dimse-ingestion.catalogueHost" -}}
{{- $parts := splitList "." (.Values.dicomEventDrivenIngestionName | default (include "dimse-ingestion.fullname" .)) }}
{{- printf "%s-catalogue" (first $parts | include "dimse-ingestion.shortened") }}
{{- with rest $parts | join "." }}{{ printf ".%s" . }}{{ end }}
{{- end }}

{{/* The port of events and queries; probes and metrics always use 8080. */}}
{{- define "dimse-ingestion.cataloguePort" -}}
{{- ternary 8443 8080 .Values.catalogueSecure }}
{{- end }}

{{- define "dimse-ingestion.catalogueUrl" -}}
{{- printf "%s://%s:%s" (ternary "https" "http" .Values.catalogueSecure) (include "dimse-ingestion.catalogueHost" .) (include "dimse-ingestion.cataloguePort" .) }}
{{- end }}

{{- define "dimse-ingestion.catalogueSecretName" -}}
{{- .Values.catalogueSecret | default (include "dimse-ingestion.catalogueHost" . | splitList "." | first) }}
{{- end }}

{{/* A client's Secret; empty if the catalogue is not of this chart, or has no TLS. */}}
{{- define "dimse-ingestion.clientSecret" -}}
{{- if and .Values.catalogueSecure (or .Values.catalogueSecret (not .Values.queryEndpoint)) }}
{{- include "dimse-ingestion.catalogueSecretName" . }}
{{- end }}
{{- end }}

{{/* "true" if this release creates the Secret. */}}
{{- define "dimse-ingestion.generatesSecret" -}}
{{- if and (include "dimse-ingestion.ownCatalogue" .) .Values.catalogueSecure (not .Values.catalogueSecret) }}true{{ end }}
{{- end }}

{{/* A client's environment; a map, in JSON. */}}
{{- define "dimse-ingestion.env.catalogueAccess" -}}
{{- $map := dict }}
{{- with include "dimse-ingestion.clientSecret" . }}
{{- $map = dict "DIMSE_CATALOGUE_TOKEN" "/etc/catalogue" "DIMSE_CATALOGUE_CA_PATH" "/etc/catalogue/ca.crt" "DIMSE_CATALOGUE_SECRET_NAME" . }}
{{- end }}
{{- with .Values.eventSinkTokenSecret }}
{{- $map = merge $map (dict "DIMSE_EVENT_SINK_TOKEN" "/etc/event-sink/token" "DIMSE_EVENT_SINK_SECRET_NAME" .) }}
{{- end }}
{{- with .Values.eventSinkCaSecret }}
{{- $map = merge $map (dict "DIMSE_EVENT_SINK_CA_PATH" "/etc/event-sink/ca/ca.crt" "DIMSE_EVENT_SINK_CA_SECRET_NAME" .) }}
{{- end }}
{{- toJson $map }}
{{- end }}

{{/* A client does not get the key: `items` omits it. */}}
{{- define "dimse-ingestion.mounts.catalogueAccess" -}}
{{- with include "dimse-ingestion.clientSecret" . }}
- name: catalogue-access
  mountPath: /etc/catalogue
  secret:
    secretName: {{ . | quote }}
    optional: true
    items:
      {{- range list "ca.crt" "token" "previous-token" }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end }}
{{- with .Values.eventSinkTokenSecret }}
- name: event-sink-token
  mountPath: /etc/event-sink/token
  secret: {secretName: {{ . | quote }}, optional: true}
{{- end }}
{{- with .Values.eventSinkCaSecret }}
- name: event-sink-ca
  mountPath: /etc/event-sink/ca
  secret: {secretName: {{ . | quote }}, optional: true}
{{- end }}
{{- end }}
