{{/* A definition, from a dict of: root, kind, plural, singular, shortName, about, fields, required,
     columns, rules, and, where it can be scaled, scale. A field's schema is that of a value of the
     chart dimse-ingestion (files/fields.json), what stands in `_rules.tpl` merged over it. */}}

{{- define "dimse-ingestion-operator.definition" -}}
{{- if .root.Values.crds.install }}
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: {{ .plural }}.imaging-ingestion.alvearie.org
  labels:
    {{- include "dimse-ingestion-operator.labels" .root | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
spec:
  group: imaging-ingestion.alvearie.org
  scope: Namespaced
  names:
    kind: {{ .kind }}
    listKind: {{ .kind }}List
    plural: {{ .plural }}
    singular: {{ lower .kind }}
    shortNames: [{{ .shortName }}]
    categories: [imaging]
  versions:
    - name: v1alpha1
      served: true
      storage: true
      subresources:
        status: {}
        {{- if .scale }}
        scale:
          specReplicasPath: .spec.replicas
          statusReplicasPath: .status.replicas
          labelSelectorPath: .status.selector
        {{- end }}
      additionalPrinterColumns:
        {{- include "dimse-ingestion-operator.columns" . | trim | nindent 8 }}
      schema:
        openAPIV3Schema:
          {{- include "dimse-ingestion-operator.resource" . | trim | nindent 10 }}
{{- end }}
{{- end }}

{{- define "dimse-ingestion-operator.columns" -}}
- {name: Phase, type: string, jsonPath: .status.phase}
- {name: Ready, type: boolean, jsonPath: .status.ready}
{{- range .columns }}
- {{ toJson . }}
{{- end }}
- {name: Message, type: string, jsonPath: .status.message, priority: 1}
- {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
{{- end }}

{{- define "dimse-ingestion-operator.resource" -}}
type: object
description: {{ .about | quote }}
{{- if .required }}
required: [spec]
{{- end }}
x-kubernetes-validations:
  - rule: self.metadata.name.size() <= 46 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')
    message: the name begins with a letter and has at most 46 lower case letters, digits and hyphens, since names of Services begin with it
properties:
  apiVersion:
    type: string
    description: Group and version of this definition.
  kind:
    type: string
    description: The kind, {{ .kind }}.
  metadata:
    type: object
  spec:
    type: object
    description: What is wished for.
    {{- with .required }}
    required: {{ toJson . }}
    {{- else }}
    default: {}
    {{- end }}
    {{- with .rules }}
    x-kubernetes-validations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    properties:
      {{- include "dimse-ingestion-operator.fields" . | trim | nindent 6 }}
      values:
        type: object
        description: Further values of the chart dimse-ingestion, as in its values file; not those that have a field here.
        x-kubernetes-preserve-unknown-fields: true
  status:
    {{- include "dimse-ingestion-operator.status" . | nindent 4 }}
{{- end }}

{{- define "dimse-ingestion-operator.fields" -}}
{{- $schemas := .root.Files.Get "files/fields.json" | fromJson }}
{{- $rules := include "dimse-ingestion-operator.fieldRules" . | fromYaml }}
{{- range $field, $value := .fields }}
{{ $field }}:
  {{- merge (dict) (index $rules $field | default dict) (index $schemas $value) | toYaml | nindent 2 }}
{{- end }}
{{- end }}
