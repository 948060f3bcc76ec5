{{/*
Required values that are empty or `null`: one sentence per line. The other checks and the templates rely on these values.
*/}}
{{- define "qualtrics-exporter.missing" -}}
{{- $sections := list "leaderElection" "proxy" "privateCA" "logging" "metrics" "http" "image" "crds" "serviceAccount" "rbac" "service" "serviceMonitor" "prometheusRule" "prometheusRule.thresholds" "grafanaDashboard" "networkPolicy" "podDisruptionBudget" "startupProbe" "livenessProbe" "readinessProbe" -}}
{{- $words := list "timeZone" "logging.format" "logging.level" "image.repository" "image.pullPolicy" "prometheusRule.runbookUrl" -}}
{{- $switches := list "allowHttp" "metrics.perExporter" "leaderElection.enabled" "crds.enabled" "crds.keep" "serviceAccount.create" "rbac.create" "rbac.aggregateClusterRoles" "serviceMonitor.enabled" "serviceMonitor.honorLabels" "prometheusRule.enabled" "grafanaDashboard.enabled" "networkPolicy.enabled" "podDisruptionBudget.enabled" -}}
{{- $numbers := list "replicaCount" "maxConcurrentRuns" "http.port" "service.port" "terminationGracePeriodSeconds" "revisionHistoryLimit" -}}
{{- range list "overdueIntervals" "audienceFactor" "audienceMinimum" "undeliveredShare" "suspendedFor" "credentialsDays" "queueLagSeconds" "limitedShare" "waitingRequests" }}{{ $numbers = append $numbers (printf "prometheusRule.thresholds.%s" .) }}{{ end -}}
{{- /* The defaults of Kubernetes are stricter: one second to answer, half a minute to start. */ -}}
{{- range $probe := list "startupProbe" "livenessProbe" "readinessProbe" -}}
{{- range list "periodSeconds" "timeoutSeconds" "failureThreshold" }}{{ $numbers = append $numbers (printf "%s.%s" $probe .) }}{{ end -}}
{{- end -}}
{{- range $path := concat $sections $words $switches $numbers -}}
{{- $value := $.Values -}}
{{- range splitList "." $path }}{{ $value = get (default dict $value) . }}{{ end -}}
{{- if or (kindIs "invalid" $value) (eq (toString $value) "") }}
{{ $path }} is empty: omit it to use the default, or set {{ if has $path $sections }}only the keys that you want to change{{ else }}a value{{ end }}.
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Problems with the values: one sentence per line, which says what to write instead. Helm checks the schema first, so all
types are correct here.
*/}}
{{- define "qualtrics-exporter.problems" -}}
{{- $name := "^[a-z]([-a-z0-9]*[a-z0-9])?$" -}}
{{- with .Values -}}

{{- /* Pods */ -}}
{{- if lt (int .replicaCount) 1 }}
replicaCount is {{ .replicaCount }}, which would stop all exporters silently: set 1 or more. To pause an exporter, set suspend: true in it. To stop the operator temporarily, use kubectl scale; the next upgrade undoes that.
{{- end }}
{{- if gt (int .replicaCount) 100 }}
replicaCount is {{ int .replicaCount }}, but only one pod works and all others wait: set 2 or 3.
{{- end }}
{{- if and (gt (int .replicaCount) 1) (not .leaderElection.enabled) }}
replicaCount is {{ int .replicaCount }}, but with leaderElection.enabled=false all of them would work at the same time: set replicaCount to 1, or leaderElection.enabled to true.
{{- end }}
{{- if and (not .leaderElection.enabled) .strategy (ne (dig "type" "" .strategy) "Recreate") }}
strategy is {{ toJson .strategy }}, but with leaderElection.enabled=false the new pod and the old pod would work at the same time: leave strategy empty to use Recreate.
{{- end }}

{{- /* Alerts */ -}}
{{- range .prometheusRule.disabled }}
{{- if not (contains (printf "- alert: %s\n" .) ($.Files.Get "files/alerts.yaml")) }}
prometheusRule.disabled has {{ . | quote }}, which is not the name of an alert: docs/alerts has all names.
{{- end }}
{{- end }}

{{- /* Image */ -}}
{{- with .image }}
{{- if or (contains "//" .repository) (not (regexMatch "^[a-z0-9]([a-z0-9._/:-]*[a-z0-9])?$" .repository)) }}
image.repository is {{ .repository | quote }}, which is not the name of an image: use lower case, without scheme and tag, such as registry.example.com/qualtrics-exporter.
{{- else if contains ":" (splitList "/" .repository | last) }}
image.repository is {{ .repository | quote }}, which has a tag: set the tag as image.tag.
{{- end }}
{{- if and .registry (not (regexMatch "^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9._/-]+)?$" .registry)) }}
image.registry is {{ .registry | quote }}, which is not a registry: set its host without a scheme, such as registry.example.com or registry.example.com:5000.
{{- end }}
{{- if and .tag (not (regexMatch "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$" .tag)) }}
image.tag is {{ .tag | quote }}, which is not a tag: use up to 128 letters, digits, dots, - and _, or leave it empty for {{ $.Chart.AppVersion }}. Set a digest as image.digest.
{{- end }}
{{- if and .digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .digest)) }}
image.digest is {{ .digest | quote }}, which is not a digest: use sha256: and 64 hexadecimal digits.
{{- end }}
{{- end }}

{{- /* Names and labels */ -}}
{{- if and .nameOverride (or (gt (len .nameOverride) 52) (not (regexMatch $name .nameOverride))) }}
nameOverride is {{ .nameOverride | quote }}, which is not a valid name: use at most 52 lower case letters, digits and -, beginning with a letter.
{{- end }}
{{- if and .fullnameOverride (or (gt (len .fullnameOverride) 52) (not (regexMatch $name .fullnameOverride))) }}
fullnameOverride is {{ .fullnameOverride | quote }}, which is not a valid name: use at most 52 lower case letters, digits and -, beginning with a letter.
{{- end }}
{{- range $where, $labels := dict "commonLabels" .commonLabels "podLabels" .podLabels "serviceMonitor.labels" .serviceMonitor.labels "prometheusRule.labels" .prometheusRule.labels "grafanaDashboard.labels" .grafanaDashboard.labels }}
{{- range $label, $_ := $labels }}
{{- if regexMatch "^(helm\\.sh/chart|app\\.kubernetes\\.io/(name|instance|component|version|managed-by|part-of))$" $label }}
{{ $where }} has {{ $label }}, which the chart sets: remove it. To change app.kubernetes.io/name, use nameOverride.
{{- end }}
{{- end }}
{{- end }}
{{- if and (not .serviceAccount.create) (not .serviceAccount.name) }}
serviceAccount.create is false, but serviceAccount.name is empty: set the name of an existing account. With the account named default, every pod of the namespace would have the operator's permissions.
{{- end }}

{{- /* What the operator does */ -}}
{{- range .watchNamespaces }}
{{- if or (gt (len .) 63) (not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" .)) }}
watchNamespaces has {{ . | quote }}, which is not a namespace: list the name of each, such as dex, or leave the list empty for all.
{{- end }}
{{- end }}
{{- /* The syntax of Kubernetes, but without empty values: no exporter would match `team==`. */ -}}
{{- $value := "[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?" }}
{{- $key := printf "([a-z0-9][-a-z0-9.]*/)?%s" $value }}
{{- $one := printf "(! *%s|%s( *(==?|!=) *%s| +(in|notin) *\\( *%s( *, *%s)* *\\))?)" $key $key $value $value $value }}
{{- if and .selector (not (regexMatch (printf "^ *%s( *, *%s)* *$" $one $one) .selector)) }}
selector is {{ .selector | quote }}, which is not a label selector: use the syntax of kubectl, such as team=dex or "team in (dex,hr)".
{{- end }}
{{- /*
Helm reads an unknown zone as UTC. Without a list of zones on the machine, it reads all of them as UTC; then only the
operator checks the zone.
*/ -}}
{{- $zones := ne (dateInZone "MST" now "Europe/Zurich") "UTC" }}
{{- $isUTC := regexMatch "^(Etc/)?(UTC|UCT|Universal|Zulu)$" .timeZone }}
{{- $unknown := and $zones (not $isUTC) (eq (dateInZone "MST" now .timeZone) "UTC") }}
{{- if or $unknown (not (regexMatch "^[A-Za-z][A-Za-z0-9_+/-]*$" .timeZone)) }}
timeZone is {{ .timeZone | quote }}, which is not an IANA time zone: use one such as Europe/Zurich or UTC.
{{- end }}
{{- if lt (int .maxConcurrentRuns) 1 }}
maxConcurrentRuns is {{ .maxConcurrentRuns }}: set 1 or more. To pause an exporter, set suspend: true in it.
{{- end }}
{{- range $value, $hosts := dict "allowedHosts" .allowedHosts "allowedDownloadHosts" .allowedDownloadHosts }}
{{- range $hosts }}
{{- if not (regexMatch "^((\\*|[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)(\\.(\\*|[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?))*|\\[[0-9A-Fa-f:.]+\\])(:[1-9][0-9]{0,4})?$" .) }}
{{ $value }} has {{ . | quote }}, which is not a host: use a host name or *.suffix, with or without a port, such as *.qualtrics.com or proxy.example.com:8443, and without scheme and path.
{{- else if regexMatch "(^|\\.)\\*(\\.[^.:]*)?(:|$)" . }}
{{ $value }} has {{ . | quote }}, which allows too many hosts: give at least the last two parts of the name, such as *.qualtrics.com.
{{- end }}
{{- end }}
{{- end }}
{{- with .proxy }}
{{- /* Messages do not show the URL: it can contain a password. */ -}}
{{- if contains "@" (.url | default "") }}
proxy.url has a user name: put the user name and the password into a Secret, and set proxy.secretName to its name.
{{- else if and .url (not (regexMatch "^(?i:https?)://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[1-9][0-9]{0,4})?/?$" .url)) }}
proxy.url is not the URL of an HTTP proxy: use one such as http://proxy.example.com:3128.
{{- end }}
{{- if and (not .url) .secretName }}
proxy.secretName is set without proxy.url: set proxy.url too.
{{- end }}
{{- if and (not .url) .noProxy }}
proxy.noProxy is set without proxy.url: set proxy.url too.
{{- end }}
{{- range $index, $host := .noProxy }}
{{- if not (regexMatch "^(\\*|(\\*?\\.)?[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*(:[0-9]{1,5})?|[0-9.]+/[0-9]{1,2}|\\[?[0-9A-Fa-f:.]+\\]?(:[0-9]{1,5})?|[0-9A-Fa-f:.]+/[0-9]{1,3})$" $host) }}
Entry {{ add1 $index }} of proxy.noProxy is not a host: use a name, .suffix, an address, or a range such as 10.0.0.0/8.
{{- end }}
{{- end }}
{{- end }}
{{- if and .privateCA.configMapName .privateCA.secretName }}
privateCA has both configMapName and secretName: remove one of them.
{{- end }}
{{- if and (or .privateCA.configMapName .privateCA.secretName) (not (regexMatch "^[-._A-Za-z0-9]+$" (.privateCA.key | default ""))) }}
privateCA.key is {{ .privateCA.key | default "" | quote }}, which is not a valid key of a ConfigMap or Secret: set the key of the certificates, such as ca.crt.
{{- end }}
{{- range .extraEnv }}
{{- $variable := .name | default "" | toString }}
{{- if not $variable }}
extraEnv has an entry without a name: use the form {name: NAME, value: "text"}.
{{- else if or (hasPrefix "QUALTRICS_EXPORTER_" $variable) (has $variable (list "POD_NAME" "SSL_CERT_FILE")) }}
extraEnv sets {{ $variable }}, which the chart sets: use the chart's value for it. There is a value for each flag, and privateCA for SSL_CERT_FILE.
{{- end }}
{{- end }}

{{- /* Network */ -}}
{{- range $where, $port := dict "http.port" .http.port "service.port" .service.port }}
{{- if or (lt (int $port) 1) (gt (int $port) 65535) }}
{{ $where }} is {{ $port }}, which is not a port: use a number from 1 to 65535.
{{- end }}
{{- end }}
{{- if not (regexMatch "^[0-9A-Za-z.:-]*$" (.http.host | default "")) }}
http.host is {{ .http.host | quote }}, which is not an address: use 0.0.0.0, or :: for IPv6, without brackets, or leave it empty for both.
{{- else if regexMatch "^(localhost|127\\..*|::1)$" (lower (.http.host | default "")) }}
http.host is {{ .http.host | quote }}, which probes cannot reach, so the pods would never be ready: use 0.0.0.0, or :: for IPv6.
{{- end }}

{{- if lt (int .terminationGracePeriodSeconds) 130 }}
terminationGracePeriodSeconds is {{ .terminationGracePeriodSeconds }}, but a send can take two minutes and would be interrupted: set 130 or more. A pod that is not sending ends immediately.
{{- end }}
{{- with .startupProbe }}
{{- $budget := mul (int .periodSeconds) (int .failureThreshold) }}
{{- if lt $budget 75 }}
startupProbe gives a pod {{ $budget }} seconds to start, but it waits up to a minute for the API server: periodSeconds times failureThreshold must be at least 75.
{{- end }}
{{- end }}
{{- if or (lt (int .revisionHistoryLimit) 0) (gt (int .revisionHistoryLimit) 1000) }}
revisionHistoryLimit is {{ int .revisionHistoryLimit }}: use a number from 0 to 1000.
{{- end }}

{{- /* A budget that allows no eviction blocks every drain of a node. */ -}}
{{- with .podDisruptionBudget }}
{{- if and .enabled (gt (int $.Values.replicaCount) 1) }}
{{- $least := .minAvailable | toString }}
{{- /* Kubernetes rounds percentages up. */ -}}
{{- $pods := 0 }}
{{- if regexMatch "^[0-9]+%?$" $least }}
{{- $pods = trimSuffix "%" $least | atoi }}
{{- if hasSuffix "%" $least }}{{ $pods = div (add (mul $pods (int $.Values.replicaCount)) 99) 100 }}{{ end }}
{{- end }}
{{- range $where, $amount := dict "minAvailable" .minAvailable "maxUnavailable" .maxUnavailable }}
{{- if and $amount (not (regexMatch "^[0-9]+%?$" (toString $amount))) }}
podDisruptionBudget.{{ $where }} is {{ toString $amount | quote }}, which is not a number of pods: use a number such as 1, or a percentage such as "50%".
{{- end }}
{{- end }}
{{- if ge (int $pods) (int $.Values.replicaCount) }}
podDisruptionBudget.minAvailable is {{ $least }} of {{ $.Values.replicaCount }} pods, so no node with these pods could be drained: set less than replicaCount, or leave it empty.
{{- else if and (not (regexMatch "[1-9]" $least)) (not (regexMatch "[1-9]" (toString .maxUnavailable))) }}
podDisruptionBudget.maxUnavailable is {{ .maxUnavailable | default 0 }}, so no node with these pods could be drained: set 1 or more.
{{- end }}
{{- end }}
{{- end }}

{{- end -}}
{{- end -}}
