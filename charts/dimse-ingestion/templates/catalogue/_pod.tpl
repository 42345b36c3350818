{{- define "dimse-ingestion.catalogue.env" -}}
{{- $url := "sqlite:////var/lib/dimse/catalogue.db" }}
{{- $secret := .Values.catalogue.database.secretName }}
{{- if $secret }}{{ $url = "/etc/database" }}{{ end }}
{{- dict "DATABASE_URL" $url "DATABASE_SECRET_NAME" $secret "DIMSE_CATALOGUE_INSECURE" true "DIMSE_DUPLICATES" .Values.catalogue.duplicates | toJson }}
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
{{- end }}

{{- define "dimse-ingestion.catalogue.ports" -}}{{- end }}
