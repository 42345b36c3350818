{{/* Errors that would make the API server refuse a pod in the middle of an installation; see
     `_mistakes.tpl`. */}}

{{- define "dimse-ingestion.mistakes.pod" -}}
{{- include "dimse-ingestion.mistakes.extraEnv" . }}
{{- include "dimse-ingestion.mistakes.podLabels" . }}
{{- include "dimse-ingestion.mistakes.extraVolumes" . }}
{{- end }}

{{- define "dimse-ingestion.mistakes.extraEnv" -}}
{{- $every := include "dimse-ingestion.env.every" .root | fromJson }}
{{- $component := include (printf "dimse-ingestion.%s.env" .component) .root | fromJson }}
{{- $own := index .root.Values .component }}
{{- $set := merge (dict) $every $component (ternary (dict) $own.settings (eq .component "proxy")) }}
{{- $seen := dict }}
{{- range $variable := $own.extraEnv }}
{{- if hasKey $set $variable.name }}
{{ $.component }}.extraEnv sets {{ $variable.name }}, which the chart sets: use the chart's value for it, or {{ $.component }}.settings.
{{- else if hasKey $seen $variable.name }}
{{ $.component }}.extraEnv sets {{ $variable.name }} twice: remove one of them.
{{- end }}
{{- $_ := set $seen $variable.name true }}
{{- end }}
{{- end }}

{{- define "dimse-ingestion.mistakes.podLabels" -}}
{{- $selector := include "dimse-ingestion.selector" . | fromYaml }}
{{- range $label, $_ := (index .root.Values .component).podLabels }}
{{- if hasKey $selector $label }}
{{ $.component }}.podLabels has {{ $label }}, which selects the pods: remove it.
{{- end }}
{{- end }}
{{- end }}

{{- define "dimse-ingestion.mistakes.extraVolumes" -}}
{{- $own := index .root.Values .component }}
{{- $mounts := include (printf "dimse-ingestion.%s.mounts" .component) .root | fromYamlArray }}
{{- $names := dict "tmp" true }}
{{- $paths := dict "/tmp" true }}
{{- range $mounts }}
{{- $_ := set $names .name true }}
{{- $_ := set $paths .mountPath true }}
{{- end }}
{{- range $own.extraVolumes }}
{{- if hasKey $names .name }}
{{ $.component }}.extraVolumes has a volume named {{ .name }}, which exists already: set another name.
{{- end }}
{{- $_ := set $names .name true }}
{{- end }}
{{- range $own.extraVolumeMounts }}
{{- if hasKey $paths .mountPath }}
{{ $.component }}.extraVolumeMounts mounts {{ .mountPath }}, where a volume is mounted already: set another mountPath.
{{- end }}
{{- if not (hasKey $names .name) }}
{{ $.component }}.extraVolumeMounts mounts {{ .name }}, which does not exist: add it to {{ $.component }}.extraVolumes.
{{- end }}
{{- $_ := set $paths .mountPath true }}
{{- end }}
{{- end }}
