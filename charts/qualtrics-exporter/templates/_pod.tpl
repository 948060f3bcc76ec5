{{/* The settings that the operator's pods and the pod of `helm test` share. */}}
{{- define "qualtrics-exporter.podBasics" -}}
# Kubernetes would set variables for a Service named qualtrics-exporter that look like the operator's own.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . | quote }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "qualtrics-exporter.hasPrivateCA" -}}
{{- if or .Values.privateCA.configMapName .Values.privateCA.secretName }}yes{{ end -}}
{{- end -}}

{{- define "qualtrics-exporter.testLabels" -}}
app.kubernetes.io/name: {{ include "qualtrics-exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end -}}

{{/*
The complete update strategy. Helm does not remove defaults that Kubernetes adds, and Kubernetes rejects the defaults of
a rolling update together with the type Recreate. So the chart sets all of them.
*/}}
{{- define "qualtrics-exporter.strategy" -}}
{{- $strategy := .Values.strategy | default (dict "type" (ternary "RollingUpdate" "Recreate" .Values.leaderElection.enabled)) -}}
{{- if eq (get $strategy "type" | default "RollingUpdate") "RollingUpdate" -}}
{{- $rolling := dict -}}
{{- range $key, $value := get $strategy "rollingUpdate" | default dict }}{{ $_ := set $rolling $key $value }}{{ end -}}
{{- if not (hasKey $rolling "maxSurge") }}{{ $_ := set $rolling "maxSurge" 1 }}{{ end -}}
{{- if not (hasKey $rolling "maxUnavailable") }}{{ $_ := set $rolling "maxUnavailable" (regexMatch "^0%?$" (toString $rolling.maxSurge) | ternary 1 0) }}{{ end -}}
{{- $strategy = dict "type" "RollingUpdate" "rollingUpdate" $rolling -}}
{{- end -}}
{{- toYaml $strategy -}}
{{- end -}}

{{/*
The affinity, by default with a preference for nodes without another pod of the release. It ignores the pods of the
previous version, which an update removes.
*/}}
{{- define "qualtrics-exporter.affinity" -}}
{{- $affinity := merge (dict) (.Values.affinity | default dict) -}}
{{- if not (hasKey $affinity "podAntiAffinity") -}}
{{- $selector := dict "matchLabels" (include "qualtrics-exporter.selectorLabels" . | fromYaml) -}}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" $selector "matchLabelKeys" (list "pod-template-hash") -}}
{{- $preferred := list (dict "weight" 100 "podAffinityTerm" $term) -}}
{{- $_ := set $affinity "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" $preferred) -}}
{{- end -}}
{{- toYaml $affinity -}}
{{- end -}}
