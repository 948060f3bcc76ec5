-- Requests a run. The token is the time. To request a run that this script refuses, use kubectl.

-- Returns why a run cannot be requested now, or nil. discovery.lua and run-now/action.lua both contain this function,
-- because Argo CD also runs disabled actions: from an outdated page, or by `argocd app actions run`. All times have the
-- same format, so they can be compared as strings.
local function refusal()
  local os = require("os")
  local function minutes_from_now(minutes)
    return os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() + 60 * minutes)
  end
  local status = obj.status or {}
  if obj.metadata.deletionTimestamp ~= nil then
    return "The exporter is being deleted."
  end
  if (obj.spec or {}).suspend == true then
    return "The exporter is suspended."
  end
  if status.scheduleSince == nil then
    return "The operator has not seen the exporter yet. It would ignore the request."
  end
  if status.activeRun ~= nil then
    return "A run is active."
  end
  local token = (obj.metadata.annotations or {})["qualtrics-exporter.dev/run-requested-at"]
  if token ~= nil and token ~= status.lastHandledRunRequest
    and token > minutes_from_now(-10) and token < minutes_from_now(10) then
    return "A run was requested a moment ago, and the operator has not started it yet."
  end
  for _, entry in ipairs(status.history or {}) do
    if entry.result == "Unknown" then
      return "It is unknown whether run " .. entry.id .. " was sent. Look in Qualtrics, then report the outcome."
    end
    if entry.result == "Succeeded" and entry.completionTime > minutes_from_now(-10) then
      return "Run " .. entry.id .. " mailed people less than ten minutes ago."
    end
  end
  return nil
end

local reason = refusal()
if reason ~= nil then
  error("No run was requested. " .. reason, 0)
end

local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["qualtrics-exporter.dev/run-requested-at"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
