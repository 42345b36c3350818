{{/* How many pods of a component there are, and how many may be away. */}}

{{/* The fewest pods that there will be. */}}
{{- define "dimse-ingestion.fewest" -}}
{{- $own := index .root.Values .component }}
{{- $replicas := ternary .root.Values.replicas $own.replicas (eq .component "ingestion") }}
{{- if and $own.autoscaling $own.autoscaling.enabled }}{{ $own.autoscaling.minReplicas }}{{ else }}{{ $replicas }}{{ end }}
{{- end }}

{{- define "dimse-ingestion.podDisruptionBudget" -}}
{{- $budget := (index .root.Values .component).podDisruptionBudget }}
{{- if and $budget.enabled (gt (include "dimse-ingestion.fewest" . | int) 1) }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "dimse-ingestion.metadata" . | nindent 2 }}
spec:
  {{- if not (kindIs "invalid" $budget.minAvailable) }}
  minAvailable: {{ $budget.minAvailable }}
  {{- else }}
  maxUnavailable: {{ $budget.maxUnavailable }}
  {{- end }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "dimse-ingestion.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{- define "dimse-ingestion.horizontalPodAutoscaler" -}}
{{- $scaling := (index .root.Values .component).autoscaling }}
{{- if $scaling.enabled }}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "dimse-ingestion.metadata" . | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "dimse-ingestion.name" . }}
  minReplicas: {{ $scaling.minReplicas }}
  maxReplicas: {{ $scaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ $scaling.targetCPUUtilizationPercentage }}}
    {{- with $scaling.metrics }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $scaling.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
