-- Starts the slots again, with the next one. If Git sets suspend: true, self-heal reverts this: see docs/gitops.md.
obj.spec.suspend = false
return obj
