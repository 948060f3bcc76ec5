{{/* What the operator's pods and the one of `helm test` have in common. */}}
{{- define "qualtrics-exporter.podBasics" -}}
# For a Service called qualtrics-exporter they would be variables that look like the operator's own.
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
How pods are replaced, in full. What Kubernetes would add by itself is not Helm's, so Helm would not take it away when
the type becomes Recreate, which is refused beside it.
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
