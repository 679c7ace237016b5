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

{{/* An image's reference, from a list of the root and the image's name. */}}
{{- define "wardrobe.image" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $images := $root.Values.images -}}
{{- $image := index $images $name -}}
{{- $repository := $image.repository -}}
{{- if not $repository -}}
{{- $missing := printf "images.registry is not set, nor is images.%s.repository: say where the images are, with --set images.registry=registry.hospital.example/wardrobe" $name -}}
{{- $repository = printf "%s/wardrobe-%s" (required $missing $images.registry) $name -}}
{{- end -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default $images.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end }}
