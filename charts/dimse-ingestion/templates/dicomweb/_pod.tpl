{{- define "dimse-ingestion.dicomweb.env" -}}
{{- include "dimse-ingestion.env.space" . | fromJson | merge (dict "DICOMWEB_HTTP_PORT" 8081 "DICOMWEB_SPOOL_DIRECTORY" "/var/lib/dimse/spool") | toJson }}
{{- end }}

{{- define "dimse-ingestion.dicomweb.mounts" -}}
{{- include "dimse-ingestion.mounts.space" . }}
- name: spool
  mountPath: /var/lib/dimse
  {{- toYaml .Values.dicomweb.spoolVolume | nindent 2 }}
{{- end }}

{{- define "dimse-ingestion.dicomweb.ports" -}}
- {name: dicomweb, containerPort: 8081}
{{- end }}
