-- How a QualtricsExporter does, in the eyes of Argo CD.
--
-- It follows kstatus: Degraded is only what cannot work until somebody changes something (Stalled), and what may still
-- become well is Progressing. A run that failed is told, but does not make the application unhealthy: the exporter is
-- well, and the next slot runs. A suspended exporter is Healthy too: that is what its owner wants.

local function verdict(status, message)
  return { status = status, message = message }
end

if obj.metadata.deletionTimestamp ~= nil then
  return verdict("Progressing", "The exporter is being deleted.")
end

local spec = obj.spec or {}
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(type, wanted)
  return conditions[type] ~= nil and conditions[type].status == wanted
end

local function told(type)
  return conditions[type].reason .. ": " .. conditions[type].message
end

if status.observedGeneration ~= obj.metadata.generation then
  return verdict("Progressing", "The operator has not checked this spec yet.")
end
if is("Stalled", "True") then
  return verdict("Degraded", told("Stalled"))
end
if spec.suspend == true then
  local message = "Suspended: it has no slots until spec.suspend is false."
  if is("Ready", "False") then
    message = message .. " It would not be ready. " .. told("Ready")
  end
  return verdict("Healthy", message)
end
if is("Reconciling", "True") then
  return verdict("Progressing", told("Reconciling"))
end
if not is("Ready", "True") then
  return verdict("Progressing", conditions.Ready and told("Ready") or "The operator has not finished its first check.")
end

local message = conditions.Ready.message
if status.nextScheduleTime ~= nil then
  message = message .. " The next slot falls due at " .. status.nextScheduleTime .. "."
end
if is("LastRunSucceeded", "False") then
  message = message .. " The last run did not succeed. " .. told("LastRunSucceeded")
elseif is("LastRunSucceeded", "Unknown") and status.history ~= nil then
  message = message .. " Whether the last run was sent is unknown. " .. told("LastRunSucceeded")
end
return verdict("Healthy", message)
