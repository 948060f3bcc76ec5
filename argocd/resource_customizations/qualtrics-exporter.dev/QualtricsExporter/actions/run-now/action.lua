-- A run, now. The token is the time: two clicks within a second are one run.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["qualtrics-exporter.dev/run-requested-at"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
