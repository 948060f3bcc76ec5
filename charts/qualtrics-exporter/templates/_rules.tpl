{{/* The permissions of the operator in the namespaces that it watches. */}}
{{- define "qualtrics-exporter.exporterRules" -}}
- apiGroups: [qualtrics-exporter.dev]
  resources: [qualtricsexporters]
  verbs: [get, list, watch]
- apiGroups: [qualtrics-exporter.dev]
  resources: [qualtricsexporters/status]
  verbs: [update]
# Only reads by the name that an exporter gives: no list, no watch.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}

{{- define "qualtrics-exporter.subjects" -}}
- kind: ServiceAccount
  name: {{ include "qualtrics-exporter.serviceAccountName" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}
