{{/* Labels by which the operator's pod is selected; they never change. */}}
{{- define "wardrobe.selector" -}}
app.kubernetes.io/name: wardrobe-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "wardrobe.labels" -}}
{{ include "wardrobe.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* An image's reference, from a list of the root, its values, where these are, and its name in the registry. */}}
{{- define "wardrobe.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $where := index . 2 -}}
{{- $name := index . 3 -}}
{{- $images := $root.Values.images -}}
{{- $repository := $image.repository -}}
{{- if not $repository -}}
{{- $missing := printf "images.registry is not set, nor is %s.repository: say where the images are, with --set images.registry=registry.hospital.example/wardrobe" $where -}}
{{- $repository = printf "%s/%s" (required $missing $images.registry) $name -}}
{{- end -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default $images.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end }}
