// Package controlplane runs etcd and kube-apiserver in one process, as the control plane of tests and of the demo.
package controlplane

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"
	_ "time/tzdata"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

const (
	// maxSocketPath is how long the path of a Unix socket may be on Linux: 108 bytes with the closing NUL.
	maxSocketPath = 107

	// etcdStartTimeout bounds the wait for etcd: a new store is ready in well under a second.
	etcdStartTimeout = time.Minute
)

// Run runs etcd and kube-apiserver in this process until a signal, and returns the exit code. Its arguments are
// DATA-DIR [kube-apiserver flag]...
func Run(args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: controlplane DATA-DIR [kube-apiserver flag]...")
		return 2
	}
	etcd, endpoint, err := startEtcd(args[0])
	if err != nil {
		fmt.Fprintf(os.Stderr, "controlplane: etcd: %v\n", err)
		return 1
	}
	// Without its store the API server answers every request with a timeout: end instead, so that the caller notices.
	go func() {
		if err := <-etcd.Err(); err != nil {
			fmt.Fprintf(os.Stderr, "controlplane: etcd: %v\n", err)
			os.Exit(1)
		}
	}()

	command := apiserver.NewAPIServerCommand()
	command.SetArgs(append([]string{"--etcd-servers=" + endpoint}, args[1:]...))
	if code := cli.Run(command); code != 0 {
		return code // without closing the store, which would fill the log after the reason for the failure
	}
	etcd.Close()
	return 0
}

// startEtcd starts a store of one member in dir, and returns when the store answers, with its endpoint. The endpoint is
// a socket in dir: it needs no port, so it cannot clash with another control plane, and other users of the machine cannot
// open it. A member must also have an address for its peers, which nothing dials.
func startEtcd(dir string) (etcd *embed.Etcd, endpoint string, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, "", err
	}
	client, err := socket(dir, "client.sock")
	if err != nil {
		return nil, "", err
	}
	peer, err := socket(dir, "peer.sock")
	if err != nil {
		return nil, "", err
	}

	config := embed.NewConfig()
	config.Dir = dir
	config.LogLevel = "error"
	config.ListenClientUrls, config.AdvertiseClientUrls = client, client
	config.ListenPeerUrls, config.AdvertisePeerUrls = peer, peer
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	// The data lives only as long as a test run, so it need not survive a power cut. An fsync for each write costs seconds.
	config.UnsafeNoFsync = true

	if etcd, err = embed.StartEtcd(config); err != nil {
		return nil, "", err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return etcd, client[0].String(), nil
	case err = <-etcd.Err():
	case <-etcd.Server.StopNotify():
		err = errors.New("stopped while it started")
	case <-time.After(etcdStartTimeout):
		err = fmt.Errorf("not ready within %s", etcdStartTimeout)
	}
	etcd.Close()
	return nil, "", err
}

// socket returns the URL of a Unix socket in dir. It reports a path that is too long, because the kernel only says
// "invalid argument", and removes the socket of a killed process, which etcd would take for a listener.
func socket(dir, name string) ([]url.URL, error) {
	path := filepath.Join(dir, name)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the socket %s would have a path of %d bytes, more than %d: choose a shorter DATA-DIR",
			path, len(path), maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return []url.URL{{Scheme: "unix", Path: path}}, nil
}
