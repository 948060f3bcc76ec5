{{/*
What other releases in the cluster leave no room for this one: each a sentence on a line of its own. Nothing is found
where no cluster is asked, as by `helm template`, and therefore with GitOps tools that render so.

Two operators for one exporter mail nobody twice, the journal in the exporter's status sees to that. It is a mistake
nevertheless: with other settings they disagree about what may be sent, so that a slot may fail that one of them would
have sent; and somebody believes to have split what is not split.
*/}}
{{- define "qualtrics-exporter.neighbours" -}}
{{- include (ternary "qualtrics-exporter.crdOwner" "qualtrics-exporter.crdLeft" .Values.crds.enabled) . -}}
{{- include "qualtrics-exporter.otherPods" . -}}
{{- if not .Values.allowOverlap -}}
{{- /* Who installs for some namespaces may have no right to look at others. */ -}}
{{- $places := list "" -}}
{{- with .Values.watchNamespaces }}{{ $places = append . $.Release.Namespace | uniq }}{{ end -}}
{{- range $place := $places -}}
{{- range (lookup "apps/v1" "Deployment" $place "").items -}}
{{- include "qualtrics-exporter.neighbour" (dict "root" $ "deployment" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether a Deployment is an operator of another release that looks after some of our exporters. */}}
{{- define "qualtrics-exporter.neighbour" -}}
{{- $labels := .deployment.metadata.labels | default dict -}}
{{- $annotations := .deployment.metadata.annotations | default dict -}}
{{- $where := printf "%s/%s" .deployment.metadata.namespace .deployment.metadata.name -}}
{{- $ours := printf "%s/%s" .root.Release.Namespace (include "qualtrics-exporter.fullname" .root) -}}
{{- $release := printf "%s/%s" (get $annotations "meta.helm.sh/release-namespace") (get $annotations "meta.helm.sh/release-name") -}}
{{- $self := or (eq $where $ours) (eq $release (printf "%s/%s" .root.Release.Namespace .root.Release.Name)) -}}
{{- if and (eq (get $labels "app.kubernetes.io/part-of") "qualtrics-exporter") (eq (get $labels "app.kubernetes.io/component") "controller") (not $self) -}}
{{- /* What its flags say. */ -}}
{{- $flags := dict -}}
{{- range .deployment.spec.template.spec.containers }}{{ range .env }}{{ $_ := set $flags .name (.value | default "") }}
{{- /* Without a value it is a field of the pod: config/namespaced has its own namespace so. */ -}}
{{- if and .valueFrom (eq .name "QUALTRICS_EXPORTER_NAMESPACE") }}{{ $_ := set $flags .name $.deployment.metadata.namespace }}{{ end }}
{{- end }}{{ end -}}
{{- $theirs := compact (splitList "," (get $flags "QUALTRICS_EXPORTER_NAMESPACE")) -}}
{{- $namespaces := .root.Values.watchNamespaces -}}
{{- $common := or (not $theirs) (not $namespaces) -}}
{{- range $namespaces }}{{ if has . $theirs }}{{ $common = true }}{{ end }}{{ end -}}
{{- /* Of two selectors that differ it cannot be told whether they meet. */ -}}
{{- $theirSelector := get $flags "QUALTRICS_EXPORTER_SELECTOR" | nospace -}}
{{- $selector := .root.Values.selector | default "" | nospace -}}
{{- if and $common (or (not $selector) (not $theirSelector) (eq $selector $theirSelector)) }}
The Deployment {{ $where }} looks after exporters that this release would look after too ({{ join ", " $theirs | default "all namespaces" }}{{ with $theirSelector }}, {{ . }}{{ end }}): give each a selector or watchNamespaces of its own, or remove one. With both at once nothing is sent twice, but what one of them may not do fails for both, for example a host that it does not allow; allowOverlap=true takes them side by side.
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Whether the release's Deployment is there with other labels for its pods, which cannot be changed: nameOverride is one of
them, and with fullnameOverride the Deployment would keep its name.
*/}}
{{- define "qualtrics-exporter.otherPods" -}}
{{- with lookup "apps/v1" "Deployment" .Release.Namespace (include "qualtrics-exporter.fullname" .) -}}
{{- $annotations := .metadata.annotations | default dict -}}
{{- $before := get .spec.selector.matchLabels "app.kubernetes.io/name" -}}
{{- $after := include "qualtrics-exporter.name" $ -}}
{{- if and (eq (get $annotations "meta.helm.sh/release-name") $.Release.Name) $before (ne $before $after) }}
The Deployment {{ .metadata.name }} has pods with the label app.kubernetes.io/name={{ $before }}, which cannot be changed to {{ $after }}: {{ if eq $before $.Chart.Name }}leave nameOverride empty{{ else }}write nameOverride: {{ $before }}{{ end }}, or change fullnameOverride too, so that a new Deployment takes its place.
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether the CRD is another's. */}}
{{- define "qualtrics-exporter.crdOwner" -}}
{{- $name := "qualtricsexporters.qualtrics-exporter.dev" -}}
{{- with lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $name -}}
{{- $annotations := .metadata.annotations | default dict -}}
{{- $release := get $annotations "meta.helm.sh/release-name" -}}
{{- $namespace := get $annotations "meta.helm.sh/release-namespace" -}}
{{- if not (and (eq $release $.Release.Name) (eq $namespace $.Release.Namespace)) }}
The CRD {{ $name }} is there already and {{ if $release }}belongs to the release {{ $release }} in {{ $namespace }}{{ else }}belongs to no release{{ end }}: write crds.enabled: false, and see to it that it is upgraded before this release. Or hand it over{{ if not $release }}, and with Helm 4 install with --force-conflicts{{ end }}: kubectl label crd {{ $name }} --overwrite app.kubernetes.io/managed-by=Helm && kubectl annotate crd {{ $name }} --overwrite meta.helm.sh/release-name={{ $.Release.Name }} meta.helm.sh/release-namespace={{ $.Release.Namespace }}{{ if $.Values.crds.keep }} helm.sh/resource-policy=keep{{ end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Whether an upgrade would delete the CRD. The Deployment tells, as whoever upgrades may have no right to look at CRDs.
*/}}
{{- define "qualtrics-exporter.crdLeft" -}}
{{- range (lookup "apps/v1" "Deployment" .Release.Namespace "").items -}}
{{- $annotations := .metadata.annotations | default dict -}}
{{- $ours := eq (get $annotations "meta.helm.sh/release-name") $.Release.Name -}}
{{- if and $ours (hasKey $annotations "qualtrics-exporter.dev/crd") }}
With crds.enabled=false this upgrade would delete the CRD, and with it every exporter in the cluster: upgrade once with crds.enabled=true and crds.keep=true, after that the CRD stays.
{{- end -}}
{{- end -}}
{{- end -}}
