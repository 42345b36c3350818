{{/* A component's Service, from a dict of root, component and ports (YAML); `service` is its values,
     `suffix` follows its name. */}}
{{- define "dimse-ingestion.service" -}}
{{- $service := .service | default dict }}
{{- $type := $service.type | default "ClusterIP" }}
apiVersion: v1
kind: Service
metadata:
  {{- include "dimse-ingestion.metadata" (merge (dict "annotations" ($service.annotations | default dict)) .) | nindent 2 }}
spec:
  type: {{ $type }}
  {{- if and $service.externalTrafficPolicy (ne $type "ClusterIP") }}
  externalTrafficPolicy: {{ $service.externalTrafficPolicy }}
  {{- end }}
  selector:
    {{- include "dimse-ingestion.selector" . | nindent 4 }}
  ports:
    {{- .ports | nindent 4 }}
{{- end }}

{{/* Metrics and probes of a component whose own Service may be exposed outside the cluster. */}}
{{- define "dimse-ingestion.metricsService" -}}
{{- include "dimse-ingestion.service" (merge (dict "suffix" "-metrics" "ports" "- {name: http, port: 8080, targetPort: http}") .) }}
{{- end }}
