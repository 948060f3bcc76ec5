-- A test of both sides that mails nobody. The mode is always set: a Deliver that an earlier test left would mail people.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["qualtrics-exporter.dev/test-mode"] = "Dry"
obj.metadata.annotations["qualtrics-exporter.dev/test-requested-at"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
