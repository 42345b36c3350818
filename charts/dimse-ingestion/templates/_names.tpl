{{/* Names and labels: an object is <fullname>-<component>, so that another release finds it. */}}

{{- define "dimse-ingestion.fullname" -}}
{{- include "dimse-ingestion.shortened" (.Values.fullnameOverride | default .Release.Name) }}
{{- end }}

{{/* A release's name, so that the longest name of its objects is a label of DNS (63). */}}
{{- define "dimse-ingestion.shortened" -}}
{{- . | trunc 46 | trimSuffix "-" }}
{{- end }}

{{/* Of a dict of root and component; `suffix` distinguishes a second object of a kind. */}}
{{- define "dimse-ingestion.name" -}}
{{- printf "%s-%s%s" (include "dimse-ingestion.fullname" .root) .component (.suffix | default "") }}
{{- end }}

{{- define "dimse-ingestion.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "dimse-ingestion.ownLabels" -}}
{{ include "dimse-ingestion.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "dimse-ingestion.labels" -}}
{{ include "dimse-ingestion.ownLabels" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The metadata of a component's object; `annotations` beside root and component are its own. */}}
{{- define "dimse-ingestion.metadata" -}}
name: {{ include "dimse-ingestion.name" . }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- include "dimse-ingestion.labels" . | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "dimse-ingestion.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "dimse-ingestion.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{/* A tag or digest follows the last slash: a registry's port is no tag. */}}
{{- define "dimse-ingestion.image" -}}
{{- $last := splitList "/" .Values.image | last }}
{{- if or (contains ":" $last) (contains "@" $last) }}
{{- .Values.image }}
{{- else }}
{{- printf "%s:%s" .Values.image .Chart.AppVersion }}
{{- end }}
{{- end }}
