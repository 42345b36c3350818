{{- define "dimse-ingestion.catalogue.env" -}}
{{- $url := "sqlite:////var/lib/dimse/catalogue.db" }}
{{- $secret := .Values.catalogue.database.secretName }}
{{- if $secret }}{{ $url = "/etc/database" }}{{ end }}
{{- $map := dict "DATABASE_URL" $url "DATABASE_SECRET_NAME" $secret "DIMSE_DUPLICATES" .Values.catalogue.duplicates "DIMSE_CATALOGUE_INSECURE" (not .Values.catalogueSecure) }}
{{- if .Values.catalogueSecure }}
{{- $name := include "dimse-ingestion.catalogueSecretName" . }}
{{- $map = merge $map (dict "DIMSE_CATALOGUE_PORT" 8443 "DIMSE_CATALOGUE_CERTIFICATE_PATH" "/etc/catalogue/tls.crt" "DIMSE_CATALOGUE_KEY_PATH" "/etc/catalogue/tls.key" "DIMSE_CATALOGUE_TOKEN" "/etc/catalogue" "DIMSE_CATALOGUE_SECRET_NAME" $name) }}
{{- end }}
{{- toJson $map }}
{{- end }}

{{- define "dimse-ingestion.catalogue.mounts" -}}
{{- with .Values.catalogue.database.secretName }}
- name: database
  mountPath: /etc/database
  secret: {secretName: {{ . | quote }}, optional: true}
{{- else }}
- name: data
  mountPath: /var/lib/dimse
  persistentVolumeClaim:
    claimName: {{ $.Values.catalogue.persistence.existingClaim | default (include "dimse-ingestion.name" (dict "root" $ "component" "catalogue")) | quote }}
{{- end }}
{{- if .Values.catalogueSecure }}
- name: catalogue-certificate
  mountPath: /etc/catalogue
  secret: {secretName: {{ include "dimse-ingestion.catalogueSecretName" . | quote }}, optional: true}
{{- end }}
{{- end }}

{{- define "dimse-ingestion.catalogue.ports" -}}
{{- if .Values.catalogueSecure }}
- {name: https, containerPort: 8443}
{{- end }}
{{- end }}
