-- What Argo CD offers to do with an exporter. A button is grey where a click would do nothing (the operator refuses it, or
-- has never seen the exporter: it takes what it finds then as done), or where it could mail people twice: while it is
-- unknown whether a run was sent, a person has to look first.

local spec = obj.spec or {}
local status = obj.status or {}
local suspended = spec.suspend == true
local deleted = obj.metadata.deletionTimestamp ~= nil
local seen = status.scheduleSince ~= nil
local unknown = false
for _, entry in ipairs(status.history or {}) do
  unknown = unknown or entry.result == "Unknown"
end

return {
  ["run-now"] = {
    disabled = suspended or deleted or unknown or not seen or status.activeRun ~= nil,
    displayName = "Run now (mails people)",
    iconClass = "fa fa-fw fa-paper-plane",
  },
  ["test"] = {
    disabled = deleted or not seen,
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
