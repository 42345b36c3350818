{{/* NATS comes by the environment, as at the ingestion service; the AE by `proxy.yaml`, as in a hospital. */}}
{{- define "dimse-ingestion.proxy.env" -}}
{{- $audit := include "dimse-ingestion.env.audit" (dict "root" . "component" "proxy") | fromJson }}
{{- include "dimse-ingestion.env.nats" (dict "root" . "secret" .Values.proxy.natsTokenSecret) | fromJson | merge $audit | toJson }}
{{- end }}

{{- define "dimse-ingestion.proxy.file" -}}
{{- $file := dict "aeTitle" .Values.applicationEntityTitle "proxyId" .Values.proxy.proxyId "port" 11112 "spoolDirectory" "/var/lib/dimse/spool" }}
{{- if hasKey .Values.proxy.settings "spaces" }}
{{- $_ := unset $file "aeTitle" }}
{{- end }}
{{- if .Values.proxy.tlsSecret }}
{{- $file = merge $file (dict "tlsCertificatePath" "/etc/dicom-tls/certificate/tls.crt" "tlsKeyPath" "/etc/dicom-tls/certificate/tls.key") }}
{{- end }}
{{- if .Values.proxy.tlsClientCaSecret }}
{{- $_ := set $file "tlsClientCaPath" "/etc/dicom-tls/client-ca/ca.crt" }}
{{- end }}
{{- if .Values.proxy.peerCaSecret }}
{{- $_ := set $file "peerCaPath" "/etc/dicom-tls/peer-ca/ca.crt" }}
{{- end }}
{{- with .Values.proxy.peers }}
{{- $_ := set $file "peers" . }}
{{- end }}
{{- if include "dimse-ingestion.proxy.keepsState" . }}
{{- $_ := set $file "storageCommitmentDirectory" "/var/lib/dimse/commitment" }}
{{- end }}
{{- with .Values.proxy.retrieve }}
{{- $_ := set $file "retrieve" . }}
{{- end }}
{{- merge (dict) .Values.proxy.settings $file | toYaml }}
{{- end }}

{{/* Not empty if the proxy has a journal, which must survive its pod and which one process alone may use. */}}
{{- define "dimse-ingestion.proxy.keepsState" -}}
{{- if dig "storageCommitment" "enabled" false .Values.proxy.settings }}true{{ end }}
{{- end }}

{{/* What makes the proxy answer a C-STORE from its spool, as a list in JSON: the proxy, a space, a variable. */}}
{{- define "dimse-ingestion.proxy.spooled" -}}
{{- $by := list }}
{{- if eq (get .Values.proxy.settings "acknowledge" | toString) "spooled" }}
{{- $by = append $by "proxy.settings.acknowledge" }}
{{- end }}
{{- range (get .Values.proxy.settings "spaces" | default list) }}
{{- if eq (get . "acknowledge" | toString) "spooled" }}
{{- $by = append $by (printf "acknowledge of %s in proxy.settings.spaces" .aeTitle) }}
{{- end }}
{{- end }}
{{- range .Values.proxy.extraEnv }}
{{- if and (eq .name "DIMSE_ACKNOWLEDGE") (eq (get . "value" | toString) "spooled") }}
{{- $by = append $by "DIMSE_ACKNOWLEDGE in proxy.extraEnv" }}
{{- end }}
{{- end }}
{{- $by | toJson }}
{{- end }}

{{/* DICOM TLS is read at the start, and again when it changes: its Secrets are required, not optional. */}}
{{- define "dimse-ingestion.proxy.mounts" -}}
- name: config
  mountPath: /etc/dimse
  configMap: {name: {{ include "dimse-ingestion.name" (dict "root" . "component" "proxy") }}}
- name: spool
  mountPath: /var/lib/dimse
  {{- include "dimse-ingestion.spoolVolume" .Values.proxy.spoolVolume | nindent 2 }}
{{- with .Values.proxy.tlsSecret }}
- name: dicom-tls
  mountPath: /etc/dicom-tls/certificate
  secret: {secretName: {{ . | quote }}}
{{- end }}
{{- with .Values.proxy.tlsClientCaSecret }}
- name: dicom-client-ca
  mountPath: /etc/dicom-tls/client-ca
  secret: {secretName: {{ . | quote }}}
{{- end }}
{{- with .Values.proxy.peerCaSecret }}
- name: dicom-peer-ca
  mountPath: /etc/dicom-tls/peer-ca
  secret: {secretName: {{ . | quote }}}
{{- end }}
{{ include "dimse-ingestion.mounts.nats" (dict "root" . "secret" .Values.proxy.natsTokenSecret) }}
{{ include "dimse-ingestion.mounts.audit" . }}
{{- end }}

{{/* The ports of the peers, as a list in JSON. */}}
{{- define "dimse-ingestion.peerPorts" -}}
{{- $ports := list }}
{{- range .Values.proxy.peers }}
{{- with .port }}{{ $ports = append $ports (int .) }}{{ end }}
{{- end }}
{{- $ports | uniq | toJson }}
{{- end }}

{{- define "dimse-ingestion.proxy.ports" -}}
- {name: dimse, containerPort: 11112}
{{- end }}

{{/* Not empty if the spool's volume is there when the pod is gone. */}}
{{- define "dimse-ingestion.proxy.spoolPersists" -}}
{{- $volume := include "dimse-ingestion.spoolVolume" .Values.proxy.spoolVolume | fromYaml }}
{{- if not (or (hasKey $volume "emptyDir") (hasKey $volume "ephemeral")) }}true{{ end }}
{{- end }}
