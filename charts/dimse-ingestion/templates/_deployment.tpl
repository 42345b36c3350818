{{/* A component's Deployment, from a dict of: root, component, replicas (what the values say),
     gracePeriod, and, where they differ, recreate, args, preStopSeconds, podAnnotations. */}}

{{- define "dimse-ingestion.deployment" -}}
{{- $own := index .root.Values .component }}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "dimse-ingestion.metadata" . | nindent 2 }}
spec:
  {{- with include "dimse-ingestion.replicas" . }}
  replicas: {{ . }}
  {{- end }}
  revisionHistoryLimit: 3
  strategy:
    {{- if .recreate }}
    type: Recreate
    {{- else }}
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
    {{- end }}
  selector:
    matchLabels:
      {{- include "dimse-ingestion.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "dimse-ingestion.selector" . | nindent 8 }}
        {{- with merge (dict) $own.podLabels .root.Values.commonLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with merge (dict) $own.podAnnotations (.podAnnotations | default dict) }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "dimse-ingestion.pod" . | trim | nindent 6 }}
{{- end }}
