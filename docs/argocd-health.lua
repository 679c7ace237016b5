-- Health of Wardrobe's four kinds for Argo CD, which reads no conditions by itself: without this it calls each of them
-- healthy as soon as it exists. To be put into the ConfigMap argocd-cm under this name, indented:
--
--   resource.customizations: |
--     wardrobe.dev/*:
--       health.lua: |
--         …
--
-- The summing condition speaks: Succeeded of a FineTuneJob, Ready of the others (docs/conditions.md). What waits for a
-- person, which Stalled says, is degraded.

local health = {status = "Progressing", message = "the operator has not looked at it yet"}
local status = obj.status or {}
if status.observedGeneration and status.observedGeneration ~= obj.metadata.generation then
  return health
end
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" or condition.type == "Succeeded" then
    local words = {True = "Healthy", False = "Degraded", Unknown = "Progressing"}
    health.status = words[condition.status]
    if condition.reason == "Suspended" then
      health.status = "Suspended"
    end
    health.message = condition.reason .. ": " .. condition.message
  end
end
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Stalled" and condition.status == "True" then
    health.status = "Degraded"
  end
end
return health
