{{/* The status of a resource: the original project's fields, and Kubernetes' conditions. */}}
{{- define "dimse-ingestion-operator.status" -}}
type: object
description: The state of the release, written by the operator.
properties:
  phase:
    type: string
    enum: [Pending, Progressing, Ready, Degraded, Failed]
    description: "Pending: something that is named is missing. Progressing: its pods are on their way. Ready: all are. Degraded: it was ready, and something is missing now. Failed: nothing but a change of the spec, or of what stands in the way, helps."
  message:
    type: string
    description: The phase in a sentence, with what is missing and the cure.
  ready:
    type: boolean
    description: Whether everything is there and ready.
  observedGeneration:
    type: integer
    format: int64
    description: Generation of the spec that this status is about.
  replicas:
    type: integer
    format: int32
    description: Pods of the component that the kind is named after.
  selector:
    type: string
    description: Labels of those pods, for an autoscaler.
  conditions:
    type: array
    description: Released (the manifests are applied), ReferencesFound (what the spec names exists), Ready.
    x-kubernetes-list-type: map
    x-kubernetes-list-map-keys: [type]
    items:
      type: object
      description: One of them.
      required: [type, status, lastTransitionTime, reason, message]
      properties:
        type: {type: string, description: Its name.}
        status: {type: string, enum: ["True", "False", Unknown], description: Whether it holds.}
        observedGeneration: {type: integer, format: int64, description: Generation of the spec that it is about.}
        lastTransitionTime: {type: string, format: date-time, description: When its status changed.}
        reason: {type: string, description: "Why, in one word."}
        message: {type: string, description: "Why, in a sentence."}
  secondaryResources:
    type: object
    description: Names of the objects made for it, by kind.
    additionalProperties:
      type: array
      items: {type: string}
{{- end }}
