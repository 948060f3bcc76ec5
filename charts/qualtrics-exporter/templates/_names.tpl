{{/*
A name of at most `max` characters for any text: the text itself if it is a valid name. Otherwise it ends with a hash of
the whole text, so that two texts never get the same name.
*/}}
{{- define "qualtrics-exporter.asName" -}}
{{- $fits := and (le (len .text) .max) (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" .text) -}}
{{- if $fits -}}
{{- .text -}}
{{- else -}}
{{- $clean := regexReplaceAll "[^a-z0-9]+" (lower .text) "-" | trimAll "-" -}}
{{- if not (regexMatch "^[a-z]" $clean) -}}{{- $clean = printf "x-%s" $clean -}}{{- end -}}
{{- $clean = trunc (int (sub .max 9)) $clean | trimSuffix "-" -}}
{{- printf "%s-%s" $clean (sha256sum .text | trunc 8) -}}
{{- end -}}
{{- end -}}

{{/* The name of the product, for the label app.kubernetes.io/name. */}}
{{- define "qualtrics-exporter.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end -}}

{{/* The name of all objects and of the Lease: at most 52 characters, to leave room for suffixes. */}}
{{- define "qualtrics-exporter.fullname" -}}
{{- $name := include "qualtrics-exporter.name" . -}}
{{- $full := .Release.Name -}}
{{- if not (contains $name $full) -}}{{- $full = printf "%s-%s" $full $name -}}{{- end -}}
{{- include "qualtrics-exporter.asName" (dict "text" (.Values.fullnameOverride | default $full) "max" 52) -}}
{{- end -}}

{{/*
The name of objects outside the release's namespace. It contains that namespace, because releases in two namespaces can
have the same name. The separator is a dot, which neither part can contain.
*/}}
{{- define "qualtrics-exporter.globalName" -}}
{{- printf "%s.%s" (include "qualtrics-exporter.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "qualtrics-exporter.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "qualtrics-exporter.fullname" .) -}}
{{- end -}}

{{/* A label value for any text: cut to 63 characters, with a letter or digit at both ends. */}}
{{- define "qualtrics-exporter.asLabel" -}}
{{- regexReplaceAll "[^A-Za-z0-9_.-]" . "_" | trunc 63 | trimAll "-_." -}}
{{- end -}}

{{- define "qualtrics-exporter.version" -}}
{{- include "qualtrics-exporter.asLabel" (.Values.image.tag | default .Chart.AppVersion) | default .Chart.AppVersion -}}
{{- end -}}

{{/* The labels that select the operator's pods. They are immutable after the installation. */}}
{{- define "qualtrics-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "qualtrics-exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: controller
{{- end -}}

{{/* The labels of every object. Takes `root`, the `component` of the object, and optional `extra` labels. */}}
{{- define "qualtrics-exporter.labelsOf" -}}
helm.sh/chart: {{ include "qualtrics-exporter.asLabel" (printf "%s-%s" .root.Chart.Name .root.Chart.Version) }}
app.kubernetes.io/name: {{ include "qualtrics-exporter.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ include "qualtrics-exporter.version" .root | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: qualtrics-exporter
{{- with merge (dict) (.extra | default dict) (.root.Values.commonLabels | default dict) }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "qualtrics-exporter.labels" -}}
{{- include "qualtrics-exporter.labelsOf" (dict "root" . "component" "controller") -}}
{{- end -}}

{{- define "qualtrics-exporter.image" -}}
{{- with .Values.image -}}
{{- with .registry }}{{ . }}/{{ end }}{{ .repository }}
{{- if or .tag (not .digest) }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- with .digest }}@{{ . }}{{ end }}
{{- end -}}
{{- end -}}
