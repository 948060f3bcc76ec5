-- No slots until it is resumed. Where Git says suspend: false, self-heal takes this back: see docs/gitops.md.
obj.spec.suspend = true
return obj
