{{/* The mistakes that lie within one component; see `_mistakes.tpl`. */}}

{{- define "dimse-ingestion.mistakes.doors" -}}
{{- $v := .Values }}
{{- if not (regexMatch "^[\\x20-\\x5b\\x5d-\\x7e]{1,16}$" $v.applicationEntityTitle) }}
applicationEntityTitle {{ $v.applicationEntityTitle | quote }} is no AE title: give 1 to 16 printable ASCII characters without a backslash (PS3.5 6.2).
{{- else if not (trim $v.applicationEntityTitle) }}
applicationEntityTitle has nothing but spaces: give the AE title the proxy acts as.
{{- end }}
{{- if and $v.proxy.tlsClientCaSecret (not $v.proxy.tlsSecret) }}
proxy.tlsClientCaSecret needs a certificate of the proxy: name its Secret in proxy.tlsSecret.
{{- end }}
{{- if and $v.proxy.enabled $v.test.enabled $v.ingestion.enabled (eq $v.proxy.proxyId $v.test.proxyId) }}
proxy.proxyId and test.proxyId are both {{ $v.test.proxyId }}: two proxies must have two ids.
{{- end }}
{{- if $v.dicomweb.ingress.enabled }}
{{- if not $v.dicomweb.ingress.host }}
dicomweb.ingress.host is missing: give the host that DICOMweb is reached at, or set dicomweb.ingress.enabled to false.
{{- end }}
{{- if not (include "dimse-ingestion.hasDicomweb" .) }}
dicomweb.ingress leads nowhere: set dicomweb.enabled to true, or dicomweb.ingress.enabled to false.
{{- end }}
{{- end }}
{{- if and $v.serviceMonitor.enabled $v.networkPolicy.enabled (include "dimse-ingestion.ownCatalogue" .) (not $v.networkPolicy.metricsFrom) }}
Prometheus would not reach the catalogue: name its namespace in networkPolicy.metricsFrom, or set serviceMonitor.enabled to false.
{{- end }}
{{- end }}

{{- define "dimse-ingestion.mistakes.availability" -}}
{{- $own := index .root.Values .component }}
{{- $fewest := include "dimse-ingestion.fewest" . | int }}
{{- $scaling := $own.autoscaling | default (dict "enabled" false) }}
{{- if and $scaling.enabled (lt (int $scaling.maxReplicas) (int $scaling.minReplicas)) }}
{{ .component }}.autoscaling.maxReplicas ({{ $scaling.maxReplicas }}) is less than minReplicas ({{ $scaling.minReplicas }}): raise the one or lower the other.
{{- end }}
{{- $least := $own.podDisruptionBudget.minAvailable }}
{{- if and $own.podDisruptionBudget.enabled (not (kindIs "invalid" $least)) }}
{{- if or (eq (toString $least) "100%") (and (not (kindIs "string" $least)) (ge (int $least) $fewest)) }}
{{ .component }}.podDisruptionBudget.minAvailable ({{ $least }}) of {{ $fewest }} lets no node be drained: add replicas, or give maxUnavailable instead.
{{- end }}
{{- end }}
{{- end }}

{{- define "dimse-ingestion.mistakes.extraEnv" -}}
{{- $every := include "dimse-ingestion.env.every" .root | fromJson }}
{{- $component := include (printf "dimse-ingestion.%s.env" .component) .root | fromJson }}
{{- $own := index .root.Values .component }}
{{- $set := merge (dict) $every $component (ternary (dict) $own.settings (eq .component "proxy")) }}
{{- range $variable := $own.extraEnv }}
{{- if hasKey $set $variable.name }}
{{ $.component }}.extraEnv sets {{ $variable.name }}, which the chart sets: use the value made for it, or {{ $.component }}.settings.
{{- end }}
{{- end }}
{{- end }}
