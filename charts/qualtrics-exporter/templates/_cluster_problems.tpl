{{/*
Conflicts of an installation or upgrade with objects in the cluster: one sentence per line. Helm finds them only if it
can ask the cluster: `helm template`, and GitOps tools that use it, find none.
*/}}
{{- define "qualtrics-exporter.clusterProblems" -}}
{{- include (ternary "qualtrics-exporter.crdOwnedElsewhere" "qualtrics-exporter.crdWouldBeDeleted" .Values.crds.enabled) . -}}
{{- include "qualtrics-exporter.podLabelsChanged" . -}}
{{- end -}}

{{/*
A sentence if the CRD belongs to another release, or to none. Helm rejects that too, but not with --take-ownership. The
CRD would then have two owners, and one of them could delete it with every exporter.
*/}}
{{- define "qualtrics-exporter.crdOwnedElsewhere" -}}
{{- $name := "qualtricsexporters.qualtrics-exporter.dev" -}}
{{- with lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $name -}}
{{- $annotations := .metadata.annotations | default dict -}}
{{- $release := get $annotations "meta.helm.sh/release-name" -}}
{{- $namespace := get $annotations "meta.helm.sh/release-namespace" -}}
{{- if not (and (eq $release $.Release.Name) (eq $namespace $.Release.Namespace)) }}
The CRD {{ $name }} already exists and {{ if $release }}belongs to the release {{ $release }} in {{ $namespace }}{{ else }}belongs to no release{{ end }}: set crds.enabled=false, and upgrade the CRD before each upgrade of this release. Or transfer it to this release{{ if not $release }}, with Helm 4 together with the flag --force-conflicts{{ end }}: kubectl label crd {{ $name }} --overwrite app.kubernetes.io/managed-by=Helm && kubectl annotate crd {{ $name }} --overwrite meta.helm.sh/release-name={{ $.Release.Name }} meta.helm.sh/release-namespace={{ $.Release.Namespace }}{{ if $.Values.crds.keep }} helm.sh/resource-policy=keep{{ end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
A sentence if an upgrade would delete the CRD. It is derived from the Deployment, because the user may lack the
permission to read CRDs.
*/}}
{{- define "qualtrics-exporter.crdWouldBeDeleted" -}}
{{- range (lookup "apps/v1" "Deployment" .Release.Namespace "").items -}}
{{- $annotations := .metadata.annotations | default dict -}}
{{- $ours := eq (get $annotations "meta.helm.sh/release-name") $.Release.Name -}}
{{- if and $ours (hasKey $annotations "qualtrics-exporter.dev/crd") }}
With crds.enabled=false, this upgrade would delete the CRD and every exporter in the cluster. First upgrade with crds.enabled=true and crds.keep=true: the CRD then remains.
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
A sentence if the release's Deployment exists with other pod labels, which are immutable: nameOverride sets one of them,
and with fullnameOverride the Deployment would keep its name. Without this check, the upgrade would fail halfway.
*/}}
{{- define "qualtrics-exporter.podLabelsChanged" -}}
{{- with lookup "apps/v1" "Deployment" .Release.Namespace (include "qualtrics-exporter.fullname" .) -}}
{{- $annotations := .metadata.annotations | default dict -}}
{{- $before := get .spec.selector.matchLabels "app.kubernetes.io/name" -}}
{{- $after := include "qualtrics-exporter.name" $ -}}
{{- if and (eq (get $annotations "meta.helm.sh/release-name") $.Release.Name) $before (ne $before $after) }}
The Deployment {{ .metadata.name }} has pods with the label app.kubernetes.io/name={{ $before }}, which cannot be changed to {{ $after }}: {{ if eq $before $.Chart.Name }}leave nameOverride empty{{ else }}set nameOverride to {{ $before }}{{ end }}, or change fullnameOverride too, so that a new Deployment replaces it.
{{- end -}}
{{- end -}}
{{- end -}}
