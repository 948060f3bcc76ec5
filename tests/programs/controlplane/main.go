// Command controlplane is etcd and kube-apiserver alone, for `make demo`. It needs two thirds of the packages of the k8s
// command, and the linker takes a third of the time.
package main

import (
	"os"

	"qualtrics-exporter.dev/programs/internal/controlplane"
)

func main() {
	os.Exit(controlplane.Run(os.Args[1:]))
}
