{{/* The environment of the components, and the volumes it names. Each takes the root. */}}

{{/* The variables of a map. A values file has integers as floats: written as integers. */}}
{{- define "dimse-ingestion.variables" -}}
{{- range $name, $value := . }}
{{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}{{ $value = int64 $value }}{{ end }}
{{- if ne (toString $value) "" }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* The environment of every component; a map, in JSON. */}}
{{- define "dimse-ingestion.env.every" -}}
{{- dict "DIMSE_LOG_LEVEL" .Values.logLevel "DIMSE_HTTP_PORT" 8080 "DIMSE_DRAIN_TIMEOUT" .Values.drainTimeout "OTEL_EXPORTER_OTLP_ENDPOINT" .Values.otlpEndpoint | toJson }}
{{- end }}

{{/* The connection to NATS with the credential in Secret `.secret`; as a map, in JSON. */}}
{{- define "dimse-ingestion.env.nats" -}}
{{- $values := .root.Values }}
{{- $map := dict "DIMSE_NATS_URL" $values.natsUrl "DIMSE_NATS_TLS_ENABLED" $values.natsSecure "DIMSE_NATS_SUBJECT_ROOT" $values.natsSubjectRoot "DIMSE_NATS_AUTH_MODE" $values.natsAuthMode "DIMSE_NATS_TLS_HANDSHAKE_FIRST" $values.natsTlsHandshakeFirst }}
{{- with .secret }}
{{- $map = merge $map (dict "DIMSE_NATS_AUTH_TOKEN" "/etc/nats/token" "DIMSE_NATS_TOKEN_SECRET_NAME" .) }}
{{- end }}
{{- with $values.natsCaSecret }}
{{- $map = merge $map (dict "DIMSE_NATS_CA_PATH" "/etc/nats/ca/ca.crt" "DIMSE_NATS_CA_SECRET_NAME" .) }}
{{- end }}
{{- with $values.natsClientCertificateSecret }}
{{- $map = merge $map (dict "DIMSE_NATS_CERTIFICATE_PATH" "/etc/nats/client/tls.crt" "DIMSE_NATS_KEY_PATH" "/etc/nats/client/tls.key" "DIMSE_NATS_CERTIFICATE_SECRET_NAME" .) }}
{{- end }}
{{- toJson $map }}
{{- end }}

{{/* The audit trail of `.component`; as a map, in JSON. Without a repository there is none. */}}
{{- define "dimse-ingestion.env.audit" -}}
{{- $audit := .root.Values.audit }}
{{- $map := dict }}
{{- if $audit.repository }}
{{- $map = dict "DIMSE_AUDIT_REPOSITORY" $audit.repository "DIMSE_AUDIT_SOURCE_ID" (include "dimse-ingestion.name" .) "DIMSE_AUDIT_SITE_ID" $audit.siteId "DIMSE_AUDIT_DIRECTORY" "/var/lib/dimse/audit" "DIMSE_AUDIT_LIMIT" $audit.limit }}
{{- if $audit.caSecret }}
{{- $_ := set $map "DIMSE_AUDIT_CA_PATH" "/etc/audit/ca/ca.crt" }}
{{- end }}
{{- if $audit.clientCertificateSecret }}
{{- $map = merge $map (dict "DIMSE_AUDIT_CERTIFICATE_PATH" "/etc/audit/client/tls.crt" "DIMSE_AUDIT_KEY_PATH" "/etc/audit/client/tls.key") }}
{{- end }}
{{- end }}
{{- toJson $map }}
{{- end }}

{{/* Bucket, provider and catalogue; as a map, in JSON. */}}
{{- define "dimse-ingestion.env.space" -}}
{{- $map := dict "PROVIDER_NAME" .Values.providerName "K_SINK" (include "dimse-ingestion.eventSink" .) "QUERY_ENDPOINT" (include "dimse-ingestion.queryEndpoint" .) "WADO_INTERNAL_ENDPOINT" (include "dimse-ingestion.wadoInternalEndpoint" .) "WADO_EXTERNAL_ENDPOINT" (include "dimse-ingestion.wadoExternalEndpoint" .) }}
{{- $bucket := dict "BUCKET_CONFIG_PATH" "/etc/bucket/config" "BUCKET_CONFIG_NAME" .Values.bucketConfigName "BUCKET_SECRET_PATH" "/etc/bucket/secret" "BUCKET_SECRET_NAME" .Values.bucketSecretName }}
{{- include "dimse-ingestion.env.catalogueAccess" . | fromJson | merge $map $bucket | toJson }}
{{- end }}

{{/* Volumes and mounts are lists of {name, mountPath, and a volume's source}; `volumes` and
     `volumeMounts` part them. What may be missing is optional: readiness reports it. */}}
{{- define "dimse-ingestion.mounts.nats" -}}
{{- if .secret }}
- name: nats-token
  mountPath: /etc/nats/token
  secret: {secretName: {{ .secret | quote }}, optional: true}
{{- end }}
{{- with .root.Values.natsCaSecret }}
- name: nats-ca
  mountPath: /etc/nats/ca
  secret: {secretName: {{ . | quote }}, optional: true}
{{- end }}
{{- with .root.Values.natsClientCertificateSecret }}
- name: nats-client
  mountPath: /etc/nats/client
  secret: {secretName: {{ . | quote }}, optional: true}
{{- end }}
{{- end }}

{{- define "dimse-ingestion.mounts.audit" -}}
{{- with .Values.audit }}
{{- if and .repository .caSecret }}
- name: audit-ca
  mountPath: /etc/audit/ca
  secret: {secretName: {{ .caSecret | quote }}, optional: true}
{{- end }}
{{- if and .repository .clientCertificateSecret }}
- name: audit-client
  mountPath: /etc/audit/client
  secret: {secretName: {{ .clientCertificateSecret | quote }}, optional: true}
{{- end }}
{{- end }}
{{- end }}

{{- define "dimse-ingestion.mounts.space" -}}
- name: bucket-config
  mountPath: /etc/bucket/config
  configMap: {name: {{ .Values.bucketConfigName | quote }}, optional: true}
{{- with .Values.bucketSecretName }}
- name: bucket-secret
  mountPath: /etc/bucket/secret
  secret: {secretName: {{ . | quote }}, optional: true}
{{- end }}
{{- with .Values.bucketFolder.volume }}
- name: bucket-folder
  mountPath: {{ $.Values.bucketFolder.mountPath | quote }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "dimse-ingestion.mounts.catalogueAccess" . }}
{{- end }}

{{- define "dimse-ingestion.volumes" -}}
{{- range . }}
- {{ omit . "mountPath" "readOnly" | toYaml | nindent 2 | trim }}
{{- end }}
{{- end }}

{{- define "dimse-ingestion.volumeMounts" -}}
{{- range . }}
- {{ pick . "name" "mountPath" | toYaml | nindent 2 | trim }}
  {{- if or .secret .configMap }}
  readOnly: true
  {{- end }}
{{- end }}
{{- end }}

{{/* A spool's volume. Helm merges the default's emptyDir into what is given beside it. */}}
{{- define "dimse-ingestion.spoolVolume" -}}
{{- (gt (len .) 1) | ternary (omit . "emptyDir") . | toYaml }}
{{- end }}
