package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

const (
	// maxSocketPath is how long the path of a Unix socket may be on Linux: 108 bytes with the closing NUL.
	maxSocketPath = 107

	// etcdStartTimeout bounds the wait for etcd: a new store is ready in well under a second.
	etcdStartTimeout = time.Minute
)

// controlPlane runs etcd and kube-apiserver in this process until a signal: controlplane DATA-DIR [kube-apiserver flag]...
func controlPlane(args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: controlplane DATA-DIR [kube-apiserver flag]...")
		return 2
	}
	etcd, endpoint, err := startEtcd(args[0])
	if err != nil {
		fmt.Fprintf(os.Stderr, "controlplane: etcd: %v\n", err)
		return 1
	}
	// The API server can do nothing without its store: rather end, and be seen to end, than answer with time-outs.
	go func() {
		if err := <-etcd.Err(); err != nil {
			fmt.Fprintf(os.Stderr, "controlplane: etcd: %v\n", err)
			os.Exit(1)
		}
	}()

	command := apiserver.NewAPIServerCommand()
	command.SetArgs(append([]string{"--etcd-servers=" + endpoint}, args[1:]...))
	if code := cli.Run(command); code != 0 {
		return code // at once: a store that closes under a server that failed fills the log over the reason
	}
	etcd.Close()
	return 0
}

// startEtcd starts a store of one member in dir, reached by a socket in there: no port to clash with another control
// plane's, and nobody else on the machine can open it. It returns when the store answers, with its endpoint. (A member
// must have an address for its peers as well; nobody ever dials it, and etcd 3.7 gives it a socket without a name.)
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
	// The data lives as long as a test run does: a power cut may have it, an fsync for each write would cost seconds.
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

// socket is the URL of a Unix socket in dir. A path that is too long is refused by the kernel as an "invalid argument",
// so say it better; and what a killed process left there would be taken for a listener.
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
