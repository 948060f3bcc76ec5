-- The health of a QualtricsExporter, by the rules of kstatus.
--
-- Degraded means that the exporter cannot run until somebody changes it (Stalled). A problem that can disappear without
-- a change means Progressing. A failed run appears only in the message: the next slot runs, and no change in Git would
-- fix the failure. A suspended exporter is Healthy, because its owner suspended it.

local function health(status, message)
  return { status = status, message = message }
end

if obj.metadata.deletionTimestamp ~= nil then
  return health("Progressing", "The exporter is being deleted.")
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

local function describe(type)
  return conditions[type].reason .. ": " .. conditions[type].message
end

if status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "The operator has not checked this spec yet.")
end
if is("Stalled", "True") then
  return health("Degraded", describe("Stalled"))
end
if spec.suspend == true then
  local message = "Suspended: it has no slots until spec.suspend is false."
  if is("Ready", "False") then
    message = message .. " It is also not ready. " .. describe("Ready")
  end
  return health("Healthy", message)
end
if is("Reconciling", "True") then
  return health("Progressing", describe("Reconciling"))
end
if not is("Ready", "True") then
  local unchecked = "The operator has not finished its first check."
  return health("Progressing", conditions.Ready and describe("Ready") or unchecked)
end

local message = conditions.Ready.message
if status.nextScheduleTime ~= nil then
  message = message .. " The next slot is due at " .. status.nextScheduleTime .. "."
end
if is("LastRunSucceeded", "False") then
  message = message .. " The last run did not succeed. " .. describe("LastRunSucceeded")
elseif is("LastRunSucceeded", "Unknown") and status.history ~= nil then
  message = message .. " It is unknown whether the last run was sent. " .. describe("LastRunSucceeded")
end
return health("Healthy", message)
