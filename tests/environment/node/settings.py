"""The settings of a node's parts, each with its reason: what was found by trying stands here and nowhere else.

Paths are those inside the node, which has a root file system of its own (`boot.py`): so nothing has to be filled in but
what differs from machine to machine. JSON is YAML.
"""

import json
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
VERSION_2 = (CGROUPS / "cgroup.controllers").exists()

NAME = "node1"
ADDRESS = "10.10.0.1"
PORT = 6443
PODS = "10.244.0.0/16"
PODS_HERE = "10.244.0.0/24"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DOMAIN = "cluster.local"
"""Nobody else sees these addresses: the node's network is its own, and has no way out."""

KERNEL = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""The kubelet sets these for the whole machine unless they are so already: files with these values lie over them, so it
sees what it wants and changes nothing."""

NETWORK = (
    ("ip", "link", "set", "lo", "up"),
    ("ip", "link", "add", "node0", "type", "bridge"),
    ("ip", "address", "add", f"{ADDRESS}/24", "dev", "node0"),
    ("ip", "link", "set", "node0", "up"),
    # A packet for a Service needs a route before it is redirected; without one it fails from the node itself.
    ("ip", "route", "add", "default", "dev", "node0", "src", ADDRESS),
)


def containerd(pause: str) -> str:
    """containerd 1.6 of Debian 12, or a newer one. Kubernetes 1.38 wants 2.0, 1.37 still takes this one."""
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
  # Without CAP_SYS_RESOURCE, as in many a container and virtual machine, runc may not lower a score, and dies with
  # "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  # The profile would have to be loaded into the machine's kernel.
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
        # There is no systemd in the node; the kubelet is told the same.
        SystemdCgroup = false
"""


def cni() -> str:
    """A bridge for pods, as the simplest network add-on makes it. A NetworkPolicy is accepted and not enforced."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,  # there is nothing outside to go to
        "hairpinMode": True,  # a pod reaches itself by its Service
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/cni",
            "ranges": [[{"subnet": PODS_HERE}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]})


def kubelet(cgroup: str) -> str:
    """The kubelet, as kubeadm sets it but for what is said here."""
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": "/node/keys/ca.pem"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",  # there is no systemd in the node
        "cgroupRoot": f"/{cgroup}",  # all pods are below one group that can be removed
        "clusterDNS": [ADDRESS],
        "clusterDomain": DOMAIN,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "resolvConf": "/node/conf/resolv.conf",
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
        "seccompDefault": True,
        "failSwapOn": False,  # a developer's machine has swap
        "maxOpenFiles": 20000,  # more than the default may be more than the machine allows
        # The disk is the developer's: what is left on it says nothing about the node.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,  # an image that is gone could not be fetched again
        "shutdownGracePeriod": "0s",  # there is no systemd to ask for more time
        # Tests kill pods again and again: a container that crashed is started within a second.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
    }
    if not VERSION_2:
        settings["failCgroupV1"] = False  # since 1.35 it has to be told that version 1 is meant
    return json.dumps(settings, indent=2)


def proxy() -> str:
    """kube-proxy."""
    settings = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": PODS,
        "clientConnection": {"kubeconfig": "/node/keys/kube-proxy.kubeconfig"},
        # These are settings of the whole machine: leave them.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "hostnameOverride": NAME,
        # By default a rule comes up to a second after the pod was ready, and whoever asks at once is refused.
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
HOSTS = f"127.0.0.1 localhost\n{ADDRESS} {NAME}\n"  # a port-forward asks for localhost
RESOLV_CONF = f"nameserver {ADDRESS}\n"

USERS = {
    # Who talks to the API server, and the groups that they are in; the rights come with Kubernetes.
    "admin": ("kubernetes-admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kubelet": (f"system:node:{NAME}", "system:nodes"),
    "kube-proxy": ("system:kube-proxy", ""),
    "coredns": ("system:coredns", "system:masters"),  # its own role comes with no part that runs here
}


def containerd_command() -> list[str]:
    """containerd."""
    return ["/usr/bin/containerd", "--config", "/node/conf/containerd.toml"]


def commands() -> dict[str, list[str]]:
    """Kubernetes' parts, in the order in which they are started: the rest when the first answers."""
    parts = {
        "controlplane": [
            "/var/lib/etcd",
            f"--secure-port={PORT}",
            "--bind-address=0.0.0.0",
            f"--advertise-address={ADDRESS}",  # there is more than one, and the one with a route to it is meant
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
    return {name: ["/node/k8s", name, *arguments] for name, arguments in parts.items()}
