{{/* Return the service's external address by its Ingress, without /dicomweb; empty if there is no
     Ingress, or if trusted proxies report the address in headers (TLS ends before this Ingress). */}}
{{- define "dimse-ingestion.dicomweb.externalAddress" -}}
{{- $ingress := .Values.dicomweb.ingress }}
{{- $byHeaders := and (index .Values.dicomweb.settings "DICOMWEB_TRUSTED_PROXIES") (not $ingress.tlsSecret) }}
{{- if and (include "dimse-ingestion.hasDicomweb" .) $ingress.enabled (not $byHeaders) (not (contains "*" $ingress.host)) }}
{{- include "dimse-ingestion.dicomweb.ingressAddress" . }}
{{- end }}
{{- end }}

{{- define "dimse-ingestion.dicomweb.ingressAddress" -}}
{{- $ingress := .Values.dicomweb.ingress }}
{{- $below := regexFind "^(/[A-Za-z0-9._~-]+)*" $ingress.path | trimSuffix "/dicomweb" }}
{{- printf "%s://%s%s" (ternary "https" "http" (ne $ingress.tlsSecret "")) $ingress.host $below }}
{{- end }}

{{- define "dimse-ingestion.dicomweb.env" -}}
{{- $map := dict "DICOMWEB_HTTP_PORT" 8081 "DICOMWEB_EXTERNAL_PORT" .Values.dicomweb.service.port "DICOMWEB_SPOOL_DIRECTORY" "/var/lib/dimse/spool" }}
{{- with include "dimse-ingestion.dicomweb.externalAddress" . }}
{{- $_ := set $map "DICOMWEB_EXTERNAL_ADDRESS" . }}
{{- end }}
{{- $audit := include "dimse-ingestion.env.audit" (dict "root" . "component" "dicomweb") | fromJson }}
{{- include "dimse-ingestion.env.space" . | fromJson | merge $map $audit | toJson }}
{{- end }}

{{- define "dimse-ingestion.dicomweb.mounts" -}}
{{- include "dimse-ingestion.mounts.space" . }}
- name: spool
  mountPath: /var/lib/dimse
  {{- include "dimse-ingestion.spoolVolume" .Values.dicomweb.spoolVolume | nindent 2 }}
{{ include "dimse-ingestion.mounts.audit" . }}
{{- end }}

{{- define "dimse-ingestion.dicomweb.ports" -}}
- {name: dicomweb, containerPort: 8081}
{{- end }}
