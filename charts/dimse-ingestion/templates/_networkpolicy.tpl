{{/* Parts of NetworkPolicies; each component's file lists its connections. */}}

{{- define "dimse-ingestion.networkPolicy.head" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "dimse-ingestion.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "dimse-ingestion.selector" . | nindent 6 }}
  policyTypes: {{ ternary "[Ingress, Egress]" "[Ingress]" .root.Values.networkPolicy.egress.enabled }}
{{- end }}

{{/* A rule to `ports` (a list), from `from` (a list of peers; none: everybody). */}}
{{- define "dimse-ingestion.networkPolicy.from" -}}
- ports:
    {{- range .ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with .from }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Rules to `rules` (as they are), or anywhere at `ports` where there are none. */}}
{{- define "dimse-ingestion.networkPolicy.to" -}}
{{- if .rules }}
{{- toYaml .rules }}
{{- else }}
- ports:
    {{- range .ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
{{- end }}

{{/* The audit record repository, of a proxy or DICOMweb. */}}
{{- define "dimse-ingestion.networkPolicy.toAuditRepository" -}}
{{- with .Values.networkPolicy.egress.audit }}
{{- toYaml . }}
{{- else }}
{{- $isUdp := hasPrefix "udp://" .Values.audit.repository }}
{{- $port := regexFind ":[0-9]+/?$" .Values.audit.repository | trimAll ":/" }}
- ports:
    - {port: {{ $port | default (ternary "514" "6514" $isUdp) }}, protocol: {{ ternary "UDP" "TCP" $isUdp }}}
{{- end }}
{{- end }}

{{/* A policy sees the port of the name server's pod, which on OpenShift is 5353. */}}
{{- define "dimse-ingestion.networkPolicy.toNameServers" -}}
- ports:
    {{- range list 53 5353 }}
    - {port: {{ . }}, protocol: UDP}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}

{{/* The catalogue of this release, or of another in any namespace. */}}
{{- define "dimse-ingestion.networkPolicy.toCatalogue" -}}
- ports:
    - {port: {{ include "dimse-ingestion.cataloguePort" . }}, protocol: TCP}
  to:
    - podSelector:
        matchLabels: {app.kubernetes.io/name: {{ .Chart.Name }}, app.kubernetes.io/component: catalogue}
      {{- if contains "." .Values.dicomEventDrivenIngestionName }}
      namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ splitList "." .Values.dicomEventDrivenIngestionName | last | quote }}}
      {{- end }}
{{- end }}
