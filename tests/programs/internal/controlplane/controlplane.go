// Package controlplane runs etcd and kube-apiserver in one process, for tests and the demo.
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
	// maxSocketPath is the maximum length of the path of a Unix socket on Linux: 108 bytes with the terminating NUL.
	maxSocketPath = 107

	// etcdStartTimeout limits the wait for etcd, which is usually ready in less than a second.
	etcdStartTimeout = time.Minute
)

// Run runs etcd and kube-apiserver in this process until it receives a signal, and returns the exit code. Its arguments
// are DATA-DIR [kube-apiserver flag]...
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
	// Without etcd, all requests to the API server time out. Exit instead, so that the caller notices the failure.
	go func() {
		if err := <-etcd.Err(); err != nil {
			fmt.Fprintf(os.Stderr, "controlplane: etcd: %v\n", err)
			os.Exit(1)
		}
	}()

	command := apiserver.NewAPIServerCommand()
	command.SetArgs(append([]string{"--etcd-servers=" + endpoint}, args[1:]...))
	if code := cli.Run(command); code != 0 {
		return code // etcd is not closed: it would write many lines after the error in the log
	}
	etcd.Close()
	return 0
}

// startEtcd starts etcd with one member in dir, waits until it is ready, and returns its endpoint. The endpoint is a
// socket in dir: it has no port, so it does not conflict with another control plane, and other users of the machine
// cannot open it. A member must also have an address for peers, which nothing uses.
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
	// The data is only for one test run, so it does not need to survive a power failure. An fsync for each write takes
	// seconds.
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

// socket returns the URL of a Unix socket in dir. It returns an error if the path is too long, because the error of the
// kernel is only "invalid argument". It removes the socket of a killed process: etcd would take it for a listener.
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
