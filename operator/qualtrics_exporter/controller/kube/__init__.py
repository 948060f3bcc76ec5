"""The Kubernetes API, as far as the operator uses it. Nothing here knows about plans, actions or status.

errors.py           what can go wrong with a call, as a tree
api.py              `ClusterApi`: the calls
resources.py        the resources and requests of these calls
responses.py        response bodies, and the error for a failed response
refusals.py         why the API server refused a request, without values of the object
auth.py             which cluster, and credentials that stay fresh
kubeconfig.py       one kubeconfig: settings, headers and credentials
connection.py       TLS and sessions
namespace_watch.py  Kopf's watch of one namespace, which restarts whenever it ends
lease.py            the Lease of the leader election
event_recorder.py   Events about exporters
"""
