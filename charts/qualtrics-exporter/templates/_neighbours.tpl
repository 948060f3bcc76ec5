{{/*
Conflicts with other releases in the cluster: one sentence per line. `helm template` does not ask a cluster, so GitOps
tools that use it find none.

Two operators for one exporter do not send a survey twice: the journal in the exporter's status prevents that. But if
their settings differ, a slot can fail that the other operator would have sent, and exporters are not split as intended.
*/}}
{{- define "qualtrics-exporter.neighbours" -}}
{{- include (ternary "qualtrics-exporter.crdOwner" "qualtrics-exporter.crdLeft" .Values.crds.enabled) . -}}
{{- include "qualtrics-exporter.otherPods" . -}}
{{- if not .Values.allowOverlap -}}
{{- /* With watchNamespaces, the user may lack permissions in other namespaces. */ -}}
{{- $places := list "" -}}
{{- with .Values.watchNamespaces }}{{ $places = append . $.Release.Namespace | uniq }}{{ end -}}
{{- range $place := $places -}}
{{- range (lookup "apps/v1" "Deployment" $place "").items -}}
{{- include "qualtrics-exporter.neighbour" (dict "root" $ "deployment" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A sentence if a Deployment is an operator of another release that manages some of the same exporters. */}}
{{- define "qualtrics-exporter.neighbour" -}}
{{- $labels := .deployment.metadata.labels | default dict -}}
{{- $annotations := .deployment.metadata.annotations | default dict -}}
{{- $where := printf "%s/%s" .deployment.metadata.namespace .deployment.metadata.name -}}
{{- $ours := printf "%s/%s" .root.Release.Namespace (include "qualtrics-exporter.fullname" .root) -}}
{{- $release := printf "%s/%s" (get $annotations "meta.helm.sh/release-namespace") (get $annotations "meta.helm.sh/release-name") -}}
{{- $self := or (eq $where $ours) (eq $release (printf "%s/%s" .root.Release.Namespace .root.Release.Name)) -}}
{{- if and (eq (get $labels "app.kubernetes.io/part-of") "qualtrics-exporter") (eq (get $labels "app.kubernetes.io/component") "controller") (not $self) -}}
{{- /* Its flags. */ -}}
{{- $flags := dict -}}
{{- range .deployment.spec.template.spec.containers }}{{ range .env }}{{ $_ := set $flags .name (.value | default "") }}
{{- /* Without a value it is a field of the pod: config/namespaced sets its own namespace like this. */ -}}
{{- if and .valueFrom (eq .name "QUALTRICS_EXPORTER_NAMESPACE") }}{{ $_ := set $flags .name $.deployment.metadata.namespace }}{{ end }}
{{- end }}{{ end -}}
{{- $theirs := compact (splitList "," (get $flags "QUALTRICS_EXPORTER_NAMESPACE")) -}}
{{- $namespaces := .root.Values.watchNamespaces -}}
{{- $common := or (not $theirs) (not $namespaces) -}}
{{- range $namespaces }}{{ if has . $theirs }}{{ $common = true }}{{ end }}{{ end -}}
{{- /* It is unknown whether two different selectors match the same exporter. */ -}}
{{- $theirSelector := get $flags "QUALTRICS_EXPORTER_SELECTOR" | nospace -}}
{{- $selector := .root.Values.selector | default "" | nospace -}}
{{- if and $common (or (not $selector) (not $theirSelector) (eq $selector $theirSelector)) }}
The Deployment {{ $where }} already manages some of the exporters that this release would manage ({{ join ", " $theirs | default "all namespaces" }}{{ with $theirSelector }}, {{ . }}{{ end }}): give each release its own selector or watchNamespaces, or remove one of them. With both, no survey is sent twice, but a run fails if the release that runs it does not allow what the run needs, for example a host. To allow both, set allowOverlap=true.
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
A sentence if the release's Deployment exists with other pod labels, which are immutable: nameOverride sets one of them,
and with fullnameOverride the Deployment would keep its name.
*/}}
{{- define "qualtrics-exporter.otherPods" -}}
{{- with lookup "apps/v1" "Deployment" .Release.Namespace (include "qualtrics-exporter.fullname" .) -}}
{{- $annotations := .metadata.annotations | default dict -}}
{{- $before := get .spec.selector.matchLabels "app.kubernetes.io/name" -}}
{{- $after := include "qualtrics-exporter.name" $ -}}
{{- if and (eq (get $annotations "meta.helm.sh/release-name") $.Release.Name) $before (ne $before $after) }}
The Deployment {{ .metadata.name }} has pods with the label app.kubernetes.io/name={{ $before }}, which cannot be changed to {{ $after }}: {{ if eq $before $.Chart.Name }}leave nameOverride empty{{ else }}set nameOverride to {{ $before }}{{ end }}, or change fullnameOverride too, so that a new Deployment replaces it.
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A sentence if the CRD belongs to another release, or to none. */}}
{{- define "qualtrics-exporter.crdOwner" -}}
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
{{- define "qualtrics-exporter.crdLeft" -}}
{{- range (lookup "apps/v1" "Deployment" .Release.Namespace "").items -}}
{{- $annotations := .metadata.annotations | default dict -}}
{{- $ours := eq (get $annotations "meta.helm.sh/release-name") $.Release.Name -}}
{{- if and $ours (hasKey $annotations "qualtrics-exporter.dev/crd") }}
With crds.enabled=false, this upgrade would delete the CRD and every exporter in the cluster. First upgrade with crds.enabled=true and crds.keep=true: the CRD then remains.
{{- end -}}
{{- end -}}
{{- end -}}
