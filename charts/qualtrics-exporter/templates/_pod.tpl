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
