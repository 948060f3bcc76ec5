{{/*
Values that `null` has taken away, or empty ones that cannot be: each a sentence on a line of its own. The other checks
and the templates rely on them.
*/}}
{{- define "qualtrics-exporter.missing" -}}
{{- $sections := list "leaderElection" "proxy" "privateCA" "logging" "http" "image" "crds" "serviceAccount" "rbac" "service" "serviceMonitor" "networkPolicy" "podDisruptionBudget" "startupProbe" "livenessProbe" "readinessProbe" -}}
{{- $words := list "timeZone" "logging.format" "logging.level" "image.repository" "image.pullPolicy" -}}
{{- $switches := list "allowOverlap" "allowHttp" "leaderElection.enabled" "crds.enabled" "crds.keep" "serviceAccount.create" "rbac.create" "rbac.aggregateClusterRoles" "serviceMonitor.enabled" "serviceMonitor.honorLabels" "networkPolicy.enabled" "podDisruptionBudget.enabled" -}}
{{- $numbers := list "replicaCount" "maxConcurrentRuns" "http.port" "service.port" "terminationGracePeriodSeconds" "revisionHistoryLimit" -}}
{{- /* Without a number of ours Kubernetes takes its own, which are stricter: a second to answer, half a minute to start. */ -}}
{{- range $probe := list "startupProbe" "livenessProbe" "readinessProbe" -}}
{{- range list "periodSeconds" "timeoutSeconds" "failureThreshold" }}{{ $numbers = append $numbers (printf "%s.%s" $probe .) }}{{ end -}}
{{- end -}}
{{- range $path := concat $sections $words $switches $numbers -}}
{{- $value := $.Values -}}
{{- range splitList "." $path }}{{ $value = get (default dict $value) . }}{{ end -}}
{{- if or (kindIs "invalid" $value) (eq (toString $value) "") }}
{{ $path }} is empty: leave it out for its default{{ if has $path $sections }}, or write the keys in it that shall be others{{ else }}, or write what it shall be{{ end }}.
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
What is wrong with the values: each a sentence that says what to write instead, on a line of its own. The schema is
checked before this, so types are right here; what it would refuse tersely is left to these sentences.
*/}}
{{- define "qualtrics-exporter.problems" -}}
{{- $name := "^[a-z]([-a-z0-9]*[a-z0-9])?$" -}}
{{- with .Values -}}

{{- /* Pods */ -}}
{{- if lt (int .replicaCount) 1 }}
replicaCount is {{ .replicaCount }}, which would stop all exporters without a word: write 1 or more. To pause exporters set suspend: true in them; to stop the operator for a while use kubectl scale, which the next upgrade undoes.
{{- end }}
{{- if gt (int .replicaCount) 100 }}
replicaCount is {{ int .replicaCount }}, of which all but one would only wait: write 2 or 3.
{{- end }}
{{- if and (gt (int .replicaCount) 1) (not .leaderElection.enabled) }}
replicaCount is {{ int .replicaCount }}, but with leaderElection.enabled=false all of them would work at once: write replicaCount: 1, or leave leaderElection.enabled at true.
{{- end }}
{{- if and (not .leaderElection.enabled) .strategy (ne (dig "type" "" .strategy) "Recreate") }}
strategy is {{ toJson .strategy }}, but with leaderElection.enabled=false a new pod beside the old one would work as well: leave strategy empty, which then means Recreate.
{{- end }}

{{- /* Image */ -}}
{{- with .image }}
{{- if or (contains "//" .repository) (not (regexMatch "^[a-z0-9]([a-z0-9._/:-]*[a-z0-9])?$" .repository)) }}
image.repository is {{ .repository | quote }}, which is no name of an image: write it in lower case, without a scheme and a tag, such as registry.example.com/qualtrics-exporter.
{{- else if contains ":" (splitList "/" .repository | last) }}
image.repository is {{ .repository | quote }}, which has a tag: write that as image.tag.
{{- end }}
{{- if and .registry (not (regexMatch "^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9._/-]+)?$" .registry)) }}
image.registry is {{ .registry | quote }}, which is no registry: write its host, such as registry.example.com or registry.example.com:5000, without a scheme.
{{- end }}
{{- if and .tag (not (regexMatch "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$" .tag)) }}
image.tag is {{ .tag | quote }}, which is no tag: write up to 128 letters, digits, dots, - and _, such as {{ $.Chart.AppVersion }}, or leave it empty for that one. A digest goes to image.digest.
{{- end }}
{{- if and .digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .digest)) }}
image.digest is {{ .digest | quote }}, which is no digest: write sha256: and 64 hexadecimal digits.
{{- end }}
{{- end }}

{{- /* Names and labels */ -}}
{{- if and .nameOverride (or (gt (len .nameOverride) 52) (not (regexMatch $name .nameOverride))) }}
nameOverride is {{ .nameOverride | quote }}, which is no name: write at most 52 lower case letters, digits and -, beginning with a letter.
{{- end }}
{{- if and .fullnameOverride (or (gt (len .fullnameOverride) 52) (not (regexMatch $name .fullnameOverride))) }}
fullnameOverride is {{ .fullnameOverride | quote }}, which is no name: write at most 52 lower case letters, digits and -, beginning with a letter.
{{- end }}
{{- range $where, $labels := dict "commonLabels" .commonLabels "podLabels" .podLabels "serviceMonitor.labels" .serviceMonitor.labels }}
{{- range $label, $_ := $labels }}
{{- if regexMatch "^(helm\\.sh/chart|app\\.kubernetes\\.io/(name|instance|component|version|managed-by|part-of))$" $label }}
{{ $where }} has {{ $label }}, which the chart sets itself: leave it out. nameOverride changes app.kubernetes.io/name.
{{- end }}
{{- end }}
{{- end }}
{{- if and (not .serviceAccount.create) (not .serviceAccount.name) }}
serviceAccount.create is false, but serviceAccount.name is empty: name the account that the operator shall use. The account called default would lend its rights to every pod of the namespace.
{{- end }}

{{- /* What the operator does */ -}}
{{- range .watchNamespaces }}
{{- if or (gt (len .) 63) (not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" .)) }}
watchNamespaces has {{ . | quote }}, which is no namespace: write the name of each, such as dex, or leave the list empty for all.
{{- end }}
{{- end }}
{{- /* As Kubernetes reads it, but that a value may not be empty: `team==` would look after nobody's exporters. */ -}}
{{- $value := "[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?" }}
{{- $key := printf "([a-z0-9][-a-z0-9.]*/)?%s" $value }}
{{- $one := printf "(! *%s|%s( *(==?|!=) *%s| +(in|notin) *\\( *%s( *, *%s)* *\\))?)" $key $key $value $value $value }}
{{- if and .selector (not (regexMatch (printf "^ *%s( *, *%s)* *$" $one $one) .selector)) }}
selector is {{ .selector | quote }}, which is no label selector: write it as kubectl takes it, such as team=dex or "team in (dex,hr)".
{{- end }}
{{- /*
A zone that is not known is taken for UTC by Helm, and so are all where it finds no list of them; then the operator has
the last word.
*/ -}}
{{- $zones := ne (dateInZone "MST" now "Europe/Zurich") "UTC" }}
{{- $isUTC := regexMatch "^(Etc/)?(UTC|UCT|Universal|Zulu)$" .timeZone }}
{{- $unknown := and $zones (not $isUTC) (eq (dateInZone "MST" now .timeZone) "UTC") }}
{{- if or $unknown (not (regexMatch "^[A-Za-z][A-Za-z0-9_+/-]*$" .timeZone)) }}
timeZone is {{ .timeZone | quote }}, which is no IANA time zone: write one such as Europe/Zurich or UTC.
{{- end }}
{{- if lt (int .maxConcurrentRuns) 1 }}
maxConcurrentRuns is {{ .maxConcurrentRuns }}: write 1 or more. To pause an exporter set suspend: true in it.
{{- end }}
{{- range $value, $hosts := dict "allowedHosts" .allowedHosts "allowedDownloadHosts" .allowedDownloadHosts }}
{{- range $hosts }}
{{- if not (regexMatch "^((\\*|[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)(\\.(\\*|[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?))*|\\[[0-9A-Fa-f:.]+\\])(:[1-9][0-9]{0,4})?$" .) }}
{{ $value }} has {{ . | quote }}, which is no host: write a host name or *.suffix, maybe with a port, such as *.qualtrics.com or proxy.example.com:8443, without scheme and path.
{{- else if regexMatch "(^|\\.)\\*(\\.[^.:]*)?(:|$)" . }}
{{ $value }} has {{ . | quote }}, which allows too much: write at least the last two parts of the name, such as *.qualtrics.com.
{{- end }}
{{- end }}
{{- end }}
{{- with .proxy }}
{{- /* Without its value: it may have a password. */ -}}
{{- if contains "@" (.url | default "") }}
proxy.url has a user name: put the user name and the password into a Secret, and name it by proxy.secretName.
{{- else if and .url (not (regexMatch "^(?i:https?)://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[1-9][0-9]{0,4})?/?$" .url)) }}
proxy.url is not the URL of an HTTP proxy: write one such as http://proxy.example.com:3128.
{{- end }}
{{- if and (not .url) .secretName }}
proxy.secretName is set without proxy.url: set the URL of the proxy too.
{{- end }}
{{- if and (not .url) .noProxy }}
proxy.noProxy is set without proxy.url: set the URL of the proxy too.
{{- end }}
{{- range $index, $host := .noProxy }}
{{- if not (regexMatch "^(\\*|(\\*?\\.)?[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*(:[0-9]{1,5})?|[0-9.]+/[0-9]{1,2}|\\[?[0-9A-Fa-f:.]+\\]?(:[0-9]{1,5})?|[0-9A-Fa-f:.]+/[0-9]{1,3})$" $host) }}
Entry {{ add1 $index }} of proxy.noProxy is not a host: write a name, .suffix, an address, or a range such as 10.0.0.0/8.
{{- end }}
{{- end }}
{{- end }}
{{- if and .privateCA.configMapName .privateCA.secretName }}
privateCA names a ConfigMap and a Secret: keep one of configMapName and secretName.
{{- end }}
{{- if and (or .privateCA.configMapName .privateCA.secretName) (not (regexMatch "^[-._A-Za-z0-9]+$" (.privateCA.key | default ""))) }}
privateCA.key is {{ .privateCA.key | default "" | quote }}, which is no key of a ConfigMap or Secret: write the one that has the certificates, such as ca.crt.
{{- end }}
{{- range .extraEnv }}
{{- $variable := .name | default "" | toString }}
{{- if not $variable }}
extraEnv has an entry without a name: write each as {name: NAME, value: "text"}.
{{- else if or (hasPrefix "QUALTRICS_EXPORTER_" $variable) (has $variable (list "POD_NAME" "SSL_CERT_FILE")) }}
extraEnv sets {{ $variable }}, which the chart sets itself: use the value for it. Flags have values of the same meaning, SSL_CERT_FILE is privateCA.
{{- end }}
{{- end }}

{{- /* Network */ -}}
{{- range $where, $port := dict "http.port" .http.port "service.port" .service.port }}
{{- if or (lt (int $port) 1) (gt (int $port) 65535) }}
{{ $where }} is {{ $port }}, which is no port: write a number from 1 to 65535.
{{- end }}
{{- end }}
{{- if not (regexMatch "^[0-9A-Za-z.:-]*$" (.http.host | default "")) }}
http.host is {{ .http.host | quote }}, which is no address: write 0.0.0.0, or :: for IPv6, without brackets, or leave it empty for both.
{{- else if regexMatch "^(localhost|127\\..*|::1)$" (lower (.http.host | default "")) }}
http.host is {{ .http.host | quote }}, where no probe reaches it, so that the pods would never be ready: write 0.0.0.0, or :: for IPv6.
{{- end }}

{{- if lt (int .terminationGracePeriodSeconds) 130 }}
terminationGracePeriodSeconds is {{ .terminationGracePeriodSeconds }}, but a send that is under way may take two minutes, and would be cut off: write 130 or more. With nothing to finish a pod ends at once.
{{- end }}
{{- with .startupProbe }}
{{- $budget := mul (int .periodSeconds) (int .failureThreshold) }}
{{- if lt $budget 75 }}
startupProbe gives a pod {{ $budget }} seconds to start, but it waits up to a minute for the API server: have periodSeconds times failureThreshold be 75 or more.
{{- end }}
{{- end }}
{{- if or (lt (int .revisionHistoryLimit) 0) (gt (int .revisionHistoryLimit) 1000) }}
revisionHistoryLimit is {{ int .revisionHistoryLimit }}: write 0 to 1000.
{{- end }}

{{- /* A budget that lets no pod go would hold up every drain of a node. */ -}}
{{- with .podDisruptionBudget }}
{{- if and .enabled (gt (int $.Values.replicaCount) 1) }}
{{- $least := .minAvailable | toString }}
{{- /* Kubernetes rounds per cent up. */ -}}
{{- $pods := 0 }}
{{- if regexMatch "^[0-9]+%?$" $least }}
{{- $pods = trimSuffix "%" $least | atoi }}
{{- if hasSuffix "%" $least }}{{ $pods = div (add (mul $pods (int $.Values.replicaCount)) 99) 100 }}{{ end }}
{{- end }}
{{- range $where, $amount := dict "minAvailable" .minAvailable "maxUnavailable" .maxUnavailable }}
{{- if and $amount (not (regexMatch "^[0-9]+%?$" (toString $amount))) }}
podDisruptionBudget.{{ $where }} is {{ toString $amount | quote }}, which is no number of pods: write one such as 1, or a part of them such as "50%".
{{- end }}
{{- end }}
{{- if ge (int $pods) (int $.Values.replicaCount) }}
podDisruptionBudget.minAvailable is {{ $least }} of {{ $.Values.replicaCount }} pods, so that no node could ever be drained: write less than replicaCount, or leave it empty.
{{- else if and (not (regexMatch "[1-9]" $least)) (not (regexMatch "[1-9]" (toString .maxUnavailable))) }}
podDisruptionBudget.maxUnavailable is {{ .maxUnavailable | default 0 }}, so that no node could ever be drained: write 1 or more.
{{- end }}
{{- end }}
{{- end }}

{{- end -}}
{{- end -}}
