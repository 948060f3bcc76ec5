// Command controlplane contains only etcd and kube-apiserver, for `make demo`. It has two thirds of the packages of the
// k8s command, and linking takes a third of the time.
package main

import (
	"os"

	"qualtrics-exporter.dev/programs/internal/controlplane"
)

func main() {
	os.Exit(controlplane.Run(os.Args[1:]))
}
