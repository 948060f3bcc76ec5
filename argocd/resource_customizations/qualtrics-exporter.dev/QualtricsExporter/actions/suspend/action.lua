-- Stops the slots until Resume. If Git sets suspend: false, self-heal reverts this: see docs/gitops.md.
obj.spec.suspend = true
return obj
