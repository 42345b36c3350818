{{- define "dimse-ingestion.ingestion.env" -}}
{{- $nats := include "dimse-ingestion.env.nats" (dict "root" . "secret" .Values.natsTokenSecret) | fromJson }}
{{- include "dimse-ingestion.env.space" . | fromJson | merge $nats (dict "DIMSE_DECODER_DIRECTORY" "/tmp/decompression") | toJson }}
{{- end }}

{{- define "dimse-ingestion.ingestion.mounts" -}}
{{- include "dimse-ingestion.mounts.space" . }}
{{ include "dimse-ingestion.mounts.nats" (dict "root" . "secret" .Values.natsTokenSecret) }}
{{- end }}

{{- define "dimse-ingestion.ingestion.ports" -}}{{- end }}
