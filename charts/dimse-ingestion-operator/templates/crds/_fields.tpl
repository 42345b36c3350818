{{/* The fields of a spec, each with the value of the chart that it is; src/dimse_ingestion/operator
     has the same table. */}}

{{- define "dimse-ingestion-operator.imageFields" -}}
image: image
imagePullPolicy: imagePullPolicy
imagePullSecrets: imagePullSecrets
{{- end }}

{{- define "dimse-ingestion-operator.spaceFields" -}}
bucketConfigName: bucketConfigName
bucketSecretName: bucketSecretName
dicomEventDrivenIngestionName: dicomEventDrivenIngestionName
providerName: providerName
{{ include "dimse-ingestion-operator.accessFields" . }}
eventSink: eventSink
eventSinkTokenSecret: eventSinkTokenSecret
eventSinkCaSecret: eventSinkCaSecret
queryEndpoint: queryEndpoint
wadoInternalEndpoint: wadoInternalEndpoint
wadoExternalEndpoint: wadoExternalEndpoint
{{- end }}

{{- define "dimse-ingestion-operator.accessFields" -}}
catalogueSecure: catalogueSecure
catalogueSecret: catalogueSecret
{{- end }}

{{- define "dimse-ingestion-operator.natsFields" -}}
natsUrl: natsUrl
natsSubjectRoot: natsSubjectRoot
natsSecure: natsSecure
natsCaSecret: natsCaSecret
natsClientCertificateSecret: natsClientCertificateSecret
natsAuthMode: natsAuthMode
natsTlsHandshakeFirst: natsTlsHandshakeFirst
applicationEntityTitle: applicationEntityTitle
{{- end }}

{{- define "dimse-ingestion-operator.auditFields" -}}
auditRepository: audit.repository
auditSiteId: audit.siteId
auditCaSecret: audit.caSecret
auditClientCertificateSecret: audit.clientCertificateSecret
{{- end }}

{{/* Validation rules of one field, in addition to the chart's schema. */}}
{{- define "dimse-ingestion-operator.fieldRules" -}}
applicationEntityTitle:
  minLength: 1
  maxLength: 16
  x-kubernetes-validations:
    - rule: self.matches('^[\\x20-\\x5b\\x5d-\\x7e]*$') && self.trim() != ''
      message: an AE title has 1 to 16 printable ASCII characters, no backslash, and not spaces alone (PS3.5 6.2)
natsSubjectRoot:
  maxLength: 256
  x-kubernetes-validations:
    - rule: self.split('.').all(token, token.matches('^[A-Za-z0-9_-]{1,64}$'))
      message: a subject root is one or more tokens with dots between them, each of 1 to 64 letters, digits, hyphens and underscores
natsUrl:
  minLength: 1
  maxLength: 2048
  x-kubernetes-validations:
    - rule: "!self.contains('@')"
      message: no credential stands in natsUrl; name the Secret that holds it in natsTokenSecret
providerName:
  minLength: 1
  maxLength: 253
  x-kubernetes-validations:
    - rule: self == oldSelf
      message: providerName must not change, since what is stored stands in the catalogue under it; make another resource
{{- end }}
