"""The settings of the components of a node, with their reasons.

Paths are those inside the node, which has its own root file system (`boot.py`). So the settings are the same on every
machine, except for a few parameters. They are JSON, which is also YAML.
"""

import json
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
CGROUPS_V2 = (CGROUPS / "cgroup.controllers").exists()

NAME = "node1"
ADDRESS = "10.10.0.1"
PORT = 6443
PODS = "10.244.0.0/16"
NODE_PODS = "10.244.0.0/24"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DOMAIN = "cluster.local"
"""These addresses exist only in the network of the node, which is isolated."""

KERNEL = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""The kubelet changes these settings of the kernel for the whole machine, unless they have these values. Files with
these values are mounted over them, so the kubelet changes nothing."""

NETWORK = (
    ("ip", "link", "set", "lo", "up"),
    ("ip", "link", "add", "node0", "type", "bridge"),
    ("ip", "address", "add", f"{ADDRESS}/24", "dev", "node0"),
    ("ip", "link", "set", "node0", "up"),
    # A packet to a Service needs a route before it is redirected. Without it, connections from the node itself fail.
    ("ip", "route", "add", "default", "dev", "node0", "src", ADDRESS),
)


def containerd(pause: str) -> str:
    """Return the settings of containerd, 1.6 (Debian 12) or newer. Kubernetes 1.37 supports 1.6, 1.38 requires 2.0."""
    return f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE, as in many containers and virtual machines, runc cannot lower the OOM score, and fails
  # with "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  # AppArmor would load a profile into the kernel of the machine.
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/node/conf/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        # The node has no systemd. The kubelet has the same setting.
        SystemdCgroup = false
"""


def cni() -> str:
    """Return the settings of a bridge for pods. It does not enforce NetworkPolicies."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,  # nothing outside is reachable
        "hairpinMode": True,  # a pod can reach itself through its Service
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/cni",
            "ranges": [[{"subnet": NODE_PODS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]})


def kubelet(cgroup: str) -> str:
    """Return the settings of the kubelet: those of kubeadm, with the exceptions that comments explain."""
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": "/node/keys/ca.pem"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",  # the node has no systemd
        "cgroupRoot": f"/{cgroup}",  # all pods are in one cgroup, which `guard.py` removes
        "clusterDNS": [ADDRESS],
        "clusterDomain": DOMAIN,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "resolvConf": "/node/conf/resolv.conf",
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
        "seccompDefault": True,
        "failSwapOn": False,  # the machine of a developer can have swap
        "maxOpenFiles": 20000,  # the default can exceed the limit of the machine
        # The node shares the disk of the machine. A lack of free space there must not evict pods.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,  # a removed image cannot be pulled again
        "shutdownGracePeriod": "0s",  # this needs systemd
        # Tests crash containers repeatedly. They are restarted within a second.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
    }
    if not CGROUPS_V2:
        settings["failCgroupV1"] = False  # since 1.35, version 1 must be allowed explicitly
    return json.dumps(settings, indent=2)


def proxy() -> str:
    """Return the settings of kube-proxy."""
    settings = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": PODS,
        "clientConnection": {"kubeconfig": "/node/keys/kube-proxy.kubeconfig"},
        # kube-proxy does not change these settings of the kernel, which are for the whole machine.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "hostnameOverride": NAME,
        # With the default, the rules follow up to a second after a pod is ready, and connections fail until then.
        "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    }
    return json.dumps(settings, indent=2)


COREFILE = f"""\
.:53 {{
    errors
    ready 127.0.0.1:8181
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig /node/keys/coredns.kubeconfig
        pods insecure
        ttl 5
    }}
}}
"""
HOSTS = f"127.0.0.1 localhost\n{ADDRESS} {NAME}\n"  # port-forward resolves localhost
RESOLV_CONF = f"nameserver {ADDRESS}\n"

USERS = {
    # The users of the API server, and their groups. Kubernetes defines their permissions.
    "admin": ("kubernetes-admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kubelet": (f"system:node:{NAME}", "system:nodes"),
    "kube-proxy": ("system:kube-proxy", ""),
    "coredns": ("system:coredns", "system:masters"),  # no component creates the role of CoreDNS
}


def containerd_command() -> list[str]:
    return ["/usr/bin/containerd", "--config", "/node/conf/containerd.toml"]


def commands() -> dict[str, list[str]]:
    """Return the commands of the components of Kubernetes. The others start when the control plane is ready."""
    components = {
        "controlplane": [
            "/var/lib/etcd",
            f"--secure-port={PORT}",
            "--bind-address=0.0.0.0",
            f"--advertise-address={ADDRESS}",  # the node has several addresses, and this one is routable
            "--tls-cert-file=/node/keys/server.pem",
            "--tls-private-key-file=/node/keys/server.pem",
            "--client-ca-file=/node/keys/ca.pem",
            "--token-auth-file=/node/keys/users.csv",
            f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
            "--service-account-key-file=/node/keys/tokens.pem",
            "--service-account-signing-key-file=/node/keys/tokens.pem",
            "--kubelet-client-certificate=/node/keys/apiserver.pem",
            "--kubelet-client-key=/node/keys/apiserver.pem",
            "--kubelet-certificate-authority=",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--service-cluster-ip-range={SERVICES}",
        ],
        "kube-controller-manager": [
            "--kubeconfig=/node/keys/kube-controller-manager.kubeconfig",
            "--authentication-kubeconfig=/node/keys/kube-controller-manager.kubeconfig",
            "--authorization-kubeconfig=/node/keys/kube-controller-manager.kubeconfig",
            "--root-ca-file=/node/keys/ca.pem",
            "--service-account-private-key-file=/node/keys/tokens.pem",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--cluster-cidr={PODS}",
        ],
        "kube-scheduler": [
            "--kubeconfig=/node/keys/kube-scheduler.kubeconfig",
            "--authentication-kubeconfig=/node/keys/kube-scheduler.kubeconfig",
            "--authorization-kubeconfig=/node/keys/kube-scheduler.kubeconfig",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ],
        "kubelet": [
            "--config=/node/conf/kubelet.json",
            "--kubeconfig=/node/keys/kubelet.kubeconfig",
            f"--hostname-override={NAME}",
            f"--node-ip={ADDRESS}",
        ],
        "kube-proxy": ["--config=/node/conf/kube-proxy.json"],
        "coredns": ["-conf", "/node/conf/Corefile"],
    }
    return {name: ["/node/k8s", name, *arguments] for name, arguments in components.items()}
