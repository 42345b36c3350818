{{/* The number of pods of a component, and how many may be unavailable. */}}

{{/* The minimum number of pods. */}}
{{- define "dimse-ingestion.fewest" -}}
{{- $own := index .root.Values .component }}
{{- $replicas := ternary .root.Values.replicas $own.replicas (eq .component "ingestion") }}
{{- if and $own.autoscaling $own.autoscaling.enabled }}{{ $own.autoscaling.minReplicas }}{{ else }}{{ $replicas }}{{ end }}
{{- end }}

{{/* What a Deployment says of its replicas. With an autoscaler nothing: the number is its own. But
     what Helm once wrote and then leaves out, Kubernetes makes 1: as long as the field is Helm's, the
     number there is now is written. It is no longer Helm's once the autoscaler has changed it; to
     write it then would be a conflict, which ends the upgrade. Without server-side apply the owner is
     unknown: it is always written. Where nothing is looked up (`helm template`, Argo CD,
     the operator) it is left out: a number written there would undo the scaling at each sync. */}}
{{- define "dimse-ingestion.replicas" -}}
{{- $scaling := (index .root.Values .component).autoscaling }}
{{- if not (and $scaling $scaling.enabled) }}{{ .replicas }}
{{- else }}
{{- $live := lookup "apps/v1" "Deployment" .root.Release.Namespace (include "dimse-ingestion.name" .) }}
{{- if and $live (include "dimse-ingestion.replicas.helms" $live) }}{{ $live.spec.replicas | default "" }}{{ end }}
{{- end }}
{{- end }}

{{/* "true" if omitting the replicas of an existing Deployment would reset them to 1. */}}
{{- define "dimse-ingestion.replicas.helms" -}}
{{- $applied := false }}
{{- $ours := false }}
{{- range .metadata.managedFields }}
{{- if eq .operation "Apply" }}
{{- $applied = true }}
{{- $ours = or $ours (hasKey (index .fieldsV1 "f:spec" | default dict) "f:replicas") }}
{{- end }}
{{- end }}
{{- if or $ours (not $applied) }}true{{ end }}
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
