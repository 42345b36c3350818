{{/* Validation rules over several fields, and over a whole spec. */}}

{{- define "dimse-ingestion-operator.bucketRules" -}}
- rule: (has(self.bucketSecretName) && self.bucketSecretName != '') || has(self.values)
  message: bucketSecretName names the Secret with the bucket's key; without it, values.bucketFolder.volume is the bucket
{{- end }}

{{- define "dimse-ingestion-operator.catalogueRules" -}}
- rule: "!has(self.replicas) || self.replicas <= 1 || (has(self.databaseSecretName) && self.databaseSecretName != '')"
  message: more than one replica needs PostgreSQL, since SQLite takes one; name a Secret with its URL in databaseSecretName
{{- end }}

{{- define "dimse-ingestion-operator.proxyRules" -}}
- rule: "!has(self.tlsClientCaSecret) || self.tlsClientCaSecret == '' || (has(self.tlsSecret) && self.tlsSecret != '')"
  message: tlsClientCaSecret needs a certificate of the proxy; name its Secret in tlsSecret
{{- end }}
