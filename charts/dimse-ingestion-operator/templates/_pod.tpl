{{- define "dimse-ingestion-operator.pod" -}}
serviceAccountName: {{ include "dimse-ingestion-operator.serviceAccountName" . | quote }}
automountServiceAccountToken: true
enableServiceLinks: false
terminationGracePeriodSeconds: 30
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with index $.Values $field }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
containers:
  - name: operator
    image: {{ include "dimse-ingestion-operator.image" (dict "root" . "image" .Values.image) | quote }}
    imagePullPolicy: {{ .Values.imagePullPolicy }}
    args: [operator]
    env:
      {{- include "dimse-ingestion-operator.env" . | trim | nindent 6 }}
    ports:
      - {name: http, containerPort: 8080}
    startupProbe:
      httpGet: {path: /livez, port: http}
      periodSeconds: 2
      timeoutSeconds: 5
      failureThreshold: 60
    livenessProbe:
      httpGet: {path: /livez, port: http}
      timeoutSeconds: 5
      failureThreshold: 6
    readinessProbe:
      httpGet: {path: /readyz, port: http}
      periodSeconds: 5
      timeoutSeconds: 5
    resources:
      {{- toYaml .Values.resources | nindent 6 }}
    securityContext:
      {{- toYaml .Values.securityContext | nindent 6 }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
volumes:
  - {name: tmp, emptyDir: {}}
{{- end }}

{{- define "dimse-ingestion-operator.env" -}}
- {name: DIMSE_LOG_LEVEL, value: {{ .Values.logLevel | quote }}}
- {name: DIMSE_HTTP_PORT, value: "8080"}
- {name: DIMSE_OPERATOR_IMAGE, value: {{ include "dimse-ingestion-operator.image" (dict "root" . "image" .Values.componentImage) | quote }}}
- {name: DIMSE_OPERATOR_NAMESPACES, value: {{ join "," .Values.watchNamespaces | quote }}}
- {name: DIMSE_OPERATOR_DEFAULTS, value: {{ .Values.defaults | toJson | quote }}}
- {name: DIMSE_OPERATOR_RESYNC, value: {{ .Values.resyncSeconds | quote }}}
- {name: DIMSE_OPERATOR_LEASE, value: {{ include "dimse-ingestion-operator.fullname" . | quote }}}
- {name: DIMSE_OPERATOR_LEASE_SECONDS, value: {{ .Values.leaseSeconds | quote }}}
- name: DIMSE_OPERATOR_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: DIMSE_OPERATOR_IDENTITY
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
