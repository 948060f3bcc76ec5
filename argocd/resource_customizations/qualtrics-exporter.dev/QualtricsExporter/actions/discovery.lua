-- The actions of an exporter in Argo CD. An action is disabled if it would have no effect, or could mail people twice:
--
-- - The operator would skip or ignore the request. It ignores requests from before it first saw the exporter.
-- - It is unknown whether a run was sent. A person must look in Qualtrics first.
-- - A run mailed people, or was requested, a moment ago. A second click is probably a mistake.

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

local suspended = (obj.spec or {}).suspend == true
local deleted = obj.metadata.deletionTimestamp ~= nil

return {
  ["run-now"] = {
    disabled = refusal() ~= nil,
    displayName = "Run now (mails people)",
    iconClass = "fa fa-fw fa-paper-plane",
  },
  ["test"] = {
    disabled = deleted or (obj.status or {}).scheduleSince == nil,
    displayName = "Test (mails nobody)",
    iconClass = "fa fa-fw fa-stethoscope",
  },
  ["suspend"] = {
    disabled = suspended or deleted,
    displayName = "Suspend",
    iconClass = "fa fa-fw fa-pause",
  },
  ["resume"] = {
    disabled = deleted or not suspended,
    displayName = "Resume",
    iconClass = "fa fa-fw fa-play",
  },
}
