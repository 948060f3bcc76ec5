-- Requests a test that mails nobody. The token begins with dry, so the operator never sends this test. The script also
-- sets the mode. That is not enough, because self-heal can restore another mode before the operator reads it.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["qualtrics-exporter.dev/test-mode"] = "Dry"
obj.metadata.annotations["qualtrics-exporter.dev/test-requested-at"] = "dry-" .. os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
