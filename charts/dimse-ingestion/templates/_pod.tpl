{{/* What the pods of all components have alike. A component brings, in its folder's `_pod.tpl`:
     `<component>.env` (a map, in JSON), `<component>.mounts` (see `_env.tpl`), `<component>.ports`. */}}

{{- define "dimse-ingestion.image.fields" -}}
image: {{ include "dimse-ingestion.image" . | quote }}
imagePullPolicy: {{ .Values.imagePullPolicy }}
{{- end }}

{{- define "dimse-ingestion.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: http}
  {{- toYaml .Values.probes.startup | nindent 2 }}
livenessProbe:
  httpGet: {path: /livez, port: http}
  {{- toYaml .Values.probes.liveness | nindent 2 }}
readinessProbe:
  httpGet: {path: /readyz, port: http}
  {{- toYaml .Values.probes.readiness | nindent 2 }}
{{- end }}

{{/* Service account, security context and image of a pod, the test's included. */}}
{{- define "dimse-ingestion.identity" -}}
serviceAccountName: {{ include "dimse-ingestion.serviceAccountName" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- end }}

{{- define "dimse-ingestion.scheduling" -}}
{{- $own := index .root.Values .component }}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with index $own $field }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with $own.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    {{- if not .labelSelector }}
    labelSelector:
      matchLabels:
        {{- include "dimse-ingestion.selector" $ | nindent 8 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "dimse-ingestion.container" -}}
{{- $own := index .root.Values .component }}
{{- $every := include "dimse-ingestion.env.every" .root | fromJson }}
{{- $component := include (printf "dimse-ingestion.%s.env" .component) .root | fromJson }}
{{- $settings := ternary (dict) $own.settings (eq .component "proxy") }}
name: {{ .component }}
{{ include "dimse-ingestion.image.fields" .root }}
args: {{ .args | default (list .component) | toJson }}
env:
  {{- include "dimse-ingestion.variables" (merge (dict) $settings $component $every) | trim | nindent 2 }}
  {{- with $own.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - {name: http, containerPort: 8080}
  {{- with include (printf "dimse-ingestion.%s.ports" .component) .root | trim }}
  {{- . | nindent 2 }}
  {{- end }}
{{ include "dimse-ingestion.probes" .root }}
{{- with .preStopSeconds }}
lifecycle:
  preStop:
    sleep: {seconds: {{ . }}}
{{- end }}
resources:
  {{- toYaml $own.resources | nindent 2 }}
securityContext:
  {{- toYaml .root.Values.securityContext | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- include "dimse-ingestion.volumeMounts" .mounts | trim | nindent 2 }}
  {{- with $own.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "dimse-ingestion.pod" -}}
{{- $own := index .root.Values .component }}
{{- $mounts := include (printf "dimse-ingestion.%s.mounts" .component) .root | fromYamlArray }}
{{ include "dimse-ingestion.identity" .root }}
terminationGracePeriodSeconds: {{ .gracePeriod }}
{{- include "dimse-ingestion.scheduling" . }}
containers:
  - {{ include "dimse-ingestion.container" (merge (dict "mounts" $mounts) .) | nindent 4 | trim }}
volumes:
  - {name: tmp, emptyDir: {}}
  {{- include "dimse-ingestion.volumes" $mounts | trim | nindent 2 }}
  {{- with $own.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
