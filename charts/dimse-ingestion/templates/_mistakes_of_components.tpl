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
{{- range $component := list "dicomweb" "proxy" }}
{{- $service := (index $v $component).service }}
{{- if and $service.nodePort (eq $service.type "ClusterIP") (include "dimse-ingestion.has" (dict "root" $ "component" $component)) }}
{{ $component }}.service.nodePort needs a port on the nodes: set {{ $component }}.service.type to NodePort, or empty it.
{{- end }}
{{- end }}
{{- if and $v.serviceMonitor.enabled $v.networkPolicy.enabled (include "dimse-ingestion.ownCatalogue" .) (not $v.networkPolicy.metricsFrom) }}
Prometheus would not reach the catalogue: name its namespace in networkPolicy.metricsFrom, or set serviceMonitor.enabled to false.
{{- end }}
{{- end }}

{{/* What names or mounts of every object may not be. */}}
{{- define "dimse-ingestion.mistakes.everywhere" -}}
{{- $labels := include "dimse-ingestion.ownLabels" (dict "root" . "component" "release") | fromYaml }}
{{- range $label, $_ := .Values.commonLabels }}
{{- if hasKey $labels $label }}
commonLabels has {{ $label }}, which the chart sets: take it out.
{{- end }}
{{- end }}
{{- $folder := .Values.bucketFolder }}
{{- if and $folder.volume (regexMatch "^/(tmp|etc|etc/.*|var|var/lib|var/lib/dimse(/.*)?)?/?$" $folder.mountPath) }}
bucketFolder.mountPath {{ $folder.mountPath }} would hide what the pods have there: mount it elsewhere, at /var/lib/images, say.
{{- end }}
{{- end }}

{{/* Whatever stands somewhere else must be let out. */}}
{{- define "dimse-ingestion.mistakes.egress" -}}
{{- $v := .Values }}
{{- $named := dict "otlpEndpoint" $v.otlpEndpoint }}
{{- if include "dimse-ingestion.storageSpace" . }}
{{- $_ := set $named "eventSink" $v.eventSink }}
{{- $_ := set $named "queryEndpoint" $v.queryEndpoint }}
{{- end }}
{{- if include "dimse-ingestion.hasDicomweb" . }}
{{- $_ := set $named "dicomweb.settings.DICOMWEB_JWKS_URL" (get $v.dicomweb.settings "DICOMWEB_JWKS_URL") }}
{{- end }}
{{- if and $v.networkPolicy.enabled $v.networkPolicy.egress.enabled (not $v.networkPolicy.egress.extra) }}
{{- range $name, $url := $named }}
{{- if $url }}
networkPolicy.egress.extra has no rule for {{ $name }} ({{ $url }}): give the one by which pods reach it.
{{- end }}
{{- end }}
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
{{- $pods := int $least }}
{{- if kindIs "string" $least }}
{{- /* as Kubernetes does: up to the next whole pod */}}
{{- $pods = div (add (mul (trimSuffix "%" $least | int) $fewest) 99) 100 }}
{{- end }}
{{- if ge (int $pods) $fewest }}
{{ .component }}.podDisruptionBudget.minAvailable ({{ $least }}) of {{ $fewest }} lets no node be drained: add replicas, or give maxUnavailable instead.
{{- end }}
{{- end }}
{{- end }}
