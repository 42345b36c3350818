{{- define "dimse-ingestion-operator.fullname" -}}
{{- .Release.Name | trunc 46 | trimSuffix "-" }}
{{- end }}

{{- define "dimse-ingestion-operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "dimse-ingestion-operator.labels" -}}
{{ include "dimse-ingestion-operator.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The metadata of an object of the release; `suffix` follows its name. */}}
{{- define "dimse-ingestion-operator.metadata" -}}
name: {{ include "dimse-ingestion-operator.fullname" .root }}{{ .suffix | default "" }}
namespace: {{ .namespace | default .root.Release.Namespace | quote }}
labels:
  {{- include "dimse-ingestion-operator.labels" .root | nindent 2 }}
{{- end }}

{{- define "dimse-ingestion-operator.serviceAccountName" -}}
{{- $made := ternary (include "dimse-ingestion-operator.fullname" .) "default" .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default $made }}
{{- end }}

{{/* A tag or digest follows the last slash: a registry's port is no tag. */}}
{{- define "dimse-ingestion-operator.image" -}}
{{- $last := splitList "/" .image | last }}
{{- if or (contains ":" $last) (contains "@" $last) }}
{{- .image }}
{{- else }}
{{- printf "%s:%s" .image .root.Chart.AppVersion }}
{{- end }}
{{- end }}
