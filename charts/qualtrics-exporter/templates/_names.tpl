{{/*
A name from any text, at most `max` characters: the text itself if it can be one. What has to be changed or cut gets a
hash of the whole text at its end, so that two texts never become one name.
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

{{/* The product's name: the label app.kubernetes.io/name. */}}
{{- define "qualtrics-exporter.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end -}}

{{/* The name of all objects and of the Lease. 52 characters, so that suffixes find room. */}}
{{- define "qualtrics-exporter.fullname" -}}
{{- $name := include "qualtrics-exporter.name" . -}}
{{- $full := .Release.Name -}}
{{- if not (contains $name $full) -}}{{- $full = printf "%s-%s" $full $name -}}{{- end -}}
{{- include "qualtrics-exporter.asName" (dict "text" (.Values.fullnameOverride | default $full) "max" 52) -}}
{{- end -}}

{{/*
The name of what lies outside the release's namespace, with that namespace in it: two releases may have one name. A dot,
since neither part can have one in it.
*/}}
{{- define "qualtrics-exporter.globalName" -}}
{{- printf "%s.%s" (include "qualtrics-exporter.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "qualtrics-exporter.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "qualtrics-exporter.fullname" .) -}}
{{- end -}}

{{/* A label's value from any text: cut to 63 characters, with a letter or digit at both ends. */}}
{{- define "qualtrics-exporter.asLabel" -}}
{{- regexReplaceAll "[^A-Za-z0-9_.-]" . "_" | trunc 63 | trimAll "-_." -}}
{{- end -}}

{{- define "qualtrics-exporter.version" -}}
{{- include "qualtrics-exporter.asLabel" (.Values.image.tag | default .Chart.AppVersion) | default .Chart.AppVersion -}}
{{- end -}}

{{/* What tells the operator's pods; cannot be changed once installed. */}}
{{- define "qualtrics-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "qualtrics-exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: controller
{{- end -}}

{{/* What every object has. Takes the root, as `component` what the object is part of, and perhaps `extra` labels. */}}
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
