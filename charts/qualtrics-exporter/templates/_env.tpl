{{/* Every flag of `qualtrics-exporter controller`, as an environment variable. */}}
{{- define "qualtrics-exporter.env" -}}
{{- $host := .Values.http.host | default "" -}}
{{- if contains ":" $host -}}{{- $host = printf "[%s]" $host -}}{{- end -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- with .Values.watchNamespaces }}
- name: QUALTRICS_EXPORTER_NAMESPACE
  value: {{ uniq . | join "," | quote }}
{{- end }}
{{- with .Values.selector }}
- name: QUALTRICS_EXPORTER_SELECTOR
  value: {{ . | quote }}
{{- end }}
- name: QUALTRICS_EXPORTER_TIME_ZONE
  value: {{ .Values.timeZone | quote }}
- name: QUALTRICS_EXPORTER_MAX_CONCURRENT_RUNS
  value: {{ int .Values.maxConcurrentRuns | quote }}
{{- with .Values.allowedHosts }}
- name: QUALTRICS_EXPORTER_ALLOWED_HOST
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.allowedDownloadHosts }}
- name: QUALTRICS_EXPORTER_ALLOWED_DOWNLOAD_HOST
  value: {{ join "," . | quote }}
{{- end }}
- name: QUALTRICS_EXPORTER_ALLOW_HTTP
  value: {{ .Values.allowHttp | quote }}
{{- with .Values.proxy }}
{{- if .url }}
- name: QUALTRICS_EXPORTER_PROXY
  value: {{ .url | quote }}
{{- with .noProxy }}
- name: QUALTRICS_EXPORTER_NO_PROXY
  value: {{ join "," . | quote }}
{{- end }}
{{- if .secretName }}
- name: QUALTRICS_EXPORTER_PROXY_USERNAME
  valueFrom:
    secretKeyRef:
      name: {{ .secretName | quote }}
      key: username
- name: QUALTRICS_EXPORTER_PROXY_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .secretName | quote }}
      key: password
{{- end }}
{{- end }}
{{- end }}
- name: QUALTRICS_EXPORTER_LEADER_ELECTION
  value: {{ .Values.leaderElection.enabled | quote }}
{{- if .Values.leaderElection.enabled }}
- name: QUALTRICS_EXPORTER_LEASE_NAMESPACE
  value: {{ .Release.Namespace | quote }}
- name: QUALTRICS_EXPORTER_LEASE_NAME
  value: {{ include "qualtrics-exporter.fullname" . | quote }}
{{- end }}
- name: QUALTRICS_EXPORTER_HTTP_ADDRESS
  value: {{ printf "%s:%v" $host (int .Values.http.port) | quote }}
- name: QUALTRICS_EXPORTER_EXPORTER_METRICS
  value: {{ .Values.metrics.perExporter | quote }}
- name: QUALTRICS_EXPORTER_LOG_FORMAT
  value: {{ .Values.logging.format | quote }}
- name: QUALTRICS_EXPORTER_LOG_LEVEL
  value: {{ .Values.logging.level | quote }}
{{- if include "qualtrics-exporter.hasPrivateCA" . }}
- name: SSL_CERT_FILE
  value: /etc/qualtrics-exporter/ca/ca.pem
{{- end }}
{{- end -}}

{{/* The port of the proxy. Empty without a proxy. */}}
{{- define "qualtrics-exporter.proxyPort" -}}
{{- with .Values.proxy.url -}}
{{- $port := regexFind ":[0-9]+/?$" . | trimPrefix ":" | trimSuffix "/" -}}
{{- $port | default (ternary "443" "80" (hasPrefix "https:" (lower .))) -}}
{{- end -}}
{{- end -}}
