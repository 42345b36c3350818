{{- define "dimse-ingestion.dicomweb.env" -}}
{{- include "dimse-ingestion.env.space" . | fromJson | merge (dict "DICOMWEB_HTTP_PORT" 8081) | toJson }}
{{- end }}

{{- define "dimse-ingestion.dicomweb.mounts" -}}
{{- include "dimse-ingestion.mounts.space" . }}
{{- end }}

{{- define "dimse-ingestion.dicomweb.ports" -}}
- {name: dicomweb, containerPort: 8081}
{{- end }}
