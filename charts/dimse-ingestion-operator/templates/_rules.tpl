{{/* What the operator may do: read its resources and what they name, and write what the chart of a
     release is made of. Secrets are read, whose content it asks for but keeps to itself; it makes
     those of catalogues, changes none, and deletes only what it made. Nothing is done with roles, pods and nodes. */}}
{{- define "dimse-ingestion-operator.rules" -}}
- apiGroups: [imaging-ingestion.alvearie.org]
  resources: [dimseingestionservices, dicomwebingestionservices, dicomeventdriveningestions, dimseproxies]
  verbs: [get, list, watch]
- apiGroups: [imaging-ingestion.alvearie.org]
  resources: [dimseingestionservices/status, dicomwebingestionservices/status, dicomeventdriveningestions/status, dimseproxies/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts, configmaps, persistentvolumeclaims]
  verbs: &written [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: *written
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies, ingresses]
  verbs: *written
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: *written
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: *written
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors, prometheusrules]
  verbs: *written
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- with .Values.rbac.extraRules }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The binding of a role, of a dict of root, kind, suffix and namespace (none: of the cluster). */}}
{{- define "dimse-ingestion-operator.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  {{- include "dimse-ingestion-operator.roleMetadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ include "dimse-ingestion-operator.roleName" . }}
subjects:
  - kind: ServiceAccount
    name: {{ include "dimse-ingestion-operator.serviceAccountName" .root | quote }}
    namespace: {{ .root.Release.Namespace | quote }}
{{- end }}

{{/* Names of cluster roles contain release and namespace: a cluster may have two operators. */}}
{{- define "dimse-ingestion-operator.roleName" -}}
{{- $name := include "dimse-ingestion-operator.fullname" .root }}
{{- ternary (printf "%s-%s" .root.Release.Namespace $name) $name (eq .kind "ClusterRole") }}{{ .suffix | default "" }}
{{- end }}

{{- define "dimse-ingestion-operator.roleMetadata" -}}
name: {{ include "dimse-ingestion-operator.roleName" . }}
{{- if eq .kind "Role" }}
namespace: {{ .namespace | quote }}
{{- end }}
labels:
  {{- include "dimse-ingestion-operator.labels" .root | nindent 2 }}
{{- end }}
