package main

import (
	"errors"
	"fmt"
	"os"

	helmcmd "helm.sh/helm/v4/pkg/cmd"
	"helm.sh/helm/v4/pkg/kube"
)

// helm runs Helm's own command line, as its main does. In managedFields it has Helm's name, not that of this program.
func helm(args []string) int {
	kube.ManagedFieldsManager = "helm"
	os.Args = append([]string{"helm"}, args...)
	command, err := helmcmd.NewRootCmd(os.Stdout, args, helmcmd.SetupLogging)
	if err != nil {
		fmt.Fprintln(os.Stderr, "helm:", err)
		return 1
	}
	if err := command.Execute(); err != nil {
		var ended helmcmd.CommandError
		if errors.As(err, &ended) {
			return ended.ExitCode
		}
		return 1
	}
	return 0
}
