"""The resources that the operator uses, and a request for one of them."""

from dataclasses import dataclass
from urllib.parse import quote

from qualtrics_exporter.resource.names import GROUP, PLURAL, VERSION


@dataclass(frozen=True, slots=True)
class ApiResource:
    """A resource of the API, such as `secrets`. Its text is the name in messages and in RBAC rules."""

    root: str
    plural: str
    subresource: str = ""

    def __str__(self) -> str:
        group = self.root.split("/")[2] if self.root.startswith("/apis/") else ""
        full_name = f"{self.plural}.{group}" if group else self.plural
        return f"{full_name}/{self.subresource}" if self.subresource else full_name


EXPORTERS = ApiResource(f"/apis/{GROUP}/{VERSION}", PLURAL)
EXPORTERS_STATUS = ApiResource(f"/apis/{GROUP}/{VERSION}", PLURAL, "status")
SECRETS = ApiResource("/api/v1", "secrets")
EVENTS = ApiResource("/apis/events.k8s.io/v1", "events")
LEASES = ApiResource("/apis/coordination.k8s.io/v1", "leases")
ACCESS_REVIEWS = ApiResource("/apis/authorization.k8s.io/v1", "selfsubjectaccessreviews")


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request. Its text names it in messages: `get secrets dex/nexthink`."""

    verb: str
    resource: ApiResource
    namespace: str | None = None
    name: str | None = None

    @property
    def path(self) -> str:
        parts = [self.resource.root]
        if self.namespace:
            parts += ["namespaces", quote(self.namespace, safe="")]
        parts.append(self.resource.plural)
        if self.name:
            parts.append(quote(self.name, safe=""))
            if self.resource.subresource:
                parts.append(self.resource.subresource)
        return "/".join(parts)

    def __str__(self) -> str:
        target = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.verb} {self.resource} {target}".rstrip()
