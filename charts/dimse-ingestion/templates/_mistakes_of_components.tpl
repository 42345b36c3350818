{{/* Errors within one component; see `_mistakes.tpl`. */}}

{{- define "dimse-ingestion.mistakes.components" -}}
{{- $v := .Values }}
{{- if not (regexMatch "^[\\x20-\\x5b\\x5d-\\x7e]{1,16}$" $v.applicationEntityTitle) }}
applicationEntityTitle {{ $v.applicationEntityTitle | quote }} is not an AE title: set 1 to 16 printable ASCII characters without a backslash (PS3.5 6.2).
{{- else if not (trim $v.applicationEntityTitle) }}
applicationEntityTitle has only spaces: set the AE title of the space's proxies.
{{- end }}
{{- range $name := list "caSecret" "clientCertificateSecret" }}
{{- if and (index $v.audit $name) (not (hasPrefix "tls://" $v.audit.repository)) }}
audit.{{ $name }} needs a repository with TLS: set audit.repository to tls://host:6514, or clear audit.{{ $name }}.
{{- end }}
{{- end }}
{{- if and $v.audit.repository (not (or $v.proxy.enabled (include "dimse-ingestion.hasDicomweb" .))) }}
audit.repository gets nothing from this release: enable proxy or dicomweb, which have audit trails, or clear it.
{{- end }}
{{- if and $v.proxy.tlsClientCaSecret (not $v.proxy.tlsSecret) }}
proxy.tlsClientCaSecret needs a certificate of the proxy: name its Secret in proxy.tlsSecret.
{{- end }}
{{- if and $v.proxy.enabled (not (include "dimse-ingestion.proxy.spoolPersists" .)) }}
{{- if include "dimse-ingestion.proxy.keepsState" . }}
proxy.settings.storageCommitment would lose its journal with the pod: set proxy.spoolVolume to a volume that survives it, such as persistentVolumeClaim.
{{- end }}
{{- with include "dimse-ingestion.proxy.spooled" . | fromJsonArray }}
{{ join ", " . }} is spooled, but proxy.spoolVolume is deleted with the pod, and with it images that were answered as stored: set proxy.spoolVolume to a persistentVolumeClaim.
{{- end }}
{{- end }}
{{- if and $v.proxy.enabled $v.test.enabled $v.ingestion.enabled (eq $v.proxy.proxyId $v.test.proxyId) }}
proxy.proxyId and test.proxyId are both {{ $v.test.proxyId }}: set different ids.
{{- end }}
{{- if $v.dicomweb.ingress.enabled }}
{{- if not $v.dicomweb.ingress.host }}
dicomweb.ingress.host is missing: set the host name of DICOMweb, or set dicomweb.ingress.enabled to false.
{{- end }}
{{- if not (include "dimse-ingestion.hasDicomweb" .) }}
dicomweb.ingress has no DICOMweb service: set dicomweb.enabled to true, or dicomweb.ingress.enabled to false.
{{- end }}
{{- end }}
{{- range $component := list "dicomweb" "proxy" }}
{{- $service := (index $v $component).service }}
{{- if and $service.nodePort (eq $service.type "ClusterIP") (include "dimse-ingestion.has" (dict "root" $ "component" $component)) }}
{{ $component }}.service.nodePort needs another type of Service: set {{ $component }}.service.type to NodePort, or clear it.
{{- end }}
{{- end }}
{{- if and $v.serviceMonitor.enabled $v.networkPolicy.enabled (include "dimse-ingestion.ownCatalogue" .) (not $v.networkPolicy.metricsFrom) }}
Prometheus could not reach the catalogue: name its namespace in networkPolicy.metricsFrom, or set serviceMonitor.enabled to false.
{{- end }}
{{- end }}

{{/* Labels and mounts that the chart reserves. */}}
{{- define "dimse-ingestion.mistakes.everywhere" -}}
{{- $labels := include "dimse-ingestion.ownLabels" (dict "root" . "component" "release") | fromYaml }}
{{- range $label, $_ := .Values.commonLabels }}
{{- if hasKey $labels $label }}
commonLabels has {{ $label }}, which the chart sets: remove it.
{{- end }}
{{- end }}
{{- $folder := .Values.bucketFolder }}
{{- if and $folder.volume (regexMatch "^/(tmp|etc|etc/.*|var|var/lib|var/lib/dimse(/.*)?)?/?$" $folder.mountPath) }}
bucketFolder.mountPath {{ $folder.mountPath }} would hide files of the pods: set another path, such as /var/lib/images.
{{- end }}
{{- end }}

{{/* Connections to other peers need an egress rule. */}}
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
networkPolicy.egress.extra has no rule for {{ $name }} ({{ $url }}): add one for it.
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "dimse-ingestion.mistakes.availability" -}}
{{- $own := index .root.Values .component }}
{{- $fewest := include "dimse-ingestion.fewest" . | int }}
{{- $scaling := $own.autoscaling | default (dict "enabled" false) }}
{{- if and $scaling.enabled (lt (int $scaling.maxReplicas) (int $scaling.minReplicas)) }}
{{ .component }}.autoscaling.maxReplicas ({{ $scaling.maxReplicas }}) is less than minReplicas ({{ $scaling.minReplicas }}): raise maxReplicas or lower minReplicas.
{{- end }}
{{- $least := $own.podDisruptionBudget.minAvailable }}
{{- if and $own.podDisruptionBudget.enabled (not (kindIs "invalid" $least)) }}
{{- $pods := int $least }}
{{- if kindIs "string" $least }}
{{- /* as Kubernetes does: up to the next whole pod */}}
{{- $pods = div (add (mul (trimSuffix "%" $least | int) $fewest) 99) 100 }}
{{- end }}
{{- if ge (int $pods) $fewest }}
{{ .component }}.podDisruptionBudget.minAvailable ({{ $least }}) of {{ $fewest }} blocks the drain of every node: add replicas, or set maxUnavailable instead.
{{- end }}
{{- end }}
{{- end }}
