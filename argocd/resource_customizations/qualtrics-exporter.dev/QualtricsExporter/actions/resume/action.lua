-- Slots again, from the next one on. Where Git says suspend: true, self-heal takes this back: see docs/gitops.md.
obj.spec.suspend = false
return obj
