{{- define "dimse-ingestion.test.secret" -}}
{{- .Values.test.natsTokenSecret | default .Values.natsTokenSecret }}
{{- end }}

{{- define "dimse-ingestion.test.env" -}}
{{- $nats := include "dimse-ingestion.env.nats" (dict "root" . "secret" (include "dimse-ingestion.test.secret" .)) | fromJson }}
{{- merge $nats (dict "DIMSE_AE" .Values.applicationEntityTitle "DIMSE_PROXY_ID" .Values.test.proxyId "DIMSE_LOG_LEVEL" "warning") | toJson }}
{{- end }}
