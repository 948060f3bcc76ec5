-- A test of both sides that mails nobody. That is in the token: one that begins with dry is never delivered. The mode is
-- set too, but what sets it back, an earlier test or Git with self-heal, may be faster than the operator.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["qualtrics-exporter.dev/test-mode"] = "Dry"
obj.metadata.annotations["qualtrics-exporter.dev/test-requested-at"] = "dry-" .. os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
