// Command k8s contains the components of Kubernetes and the tools that the tests run, in one program. The first
// argument, or the name of the executable, selects the component.
//
// It is one program because the components share most of their code: each of them alone is almost as large as all of
// them together, and linking takes almost as long. It is built from the published Go modules, because these need
// neither a container registry nor a download site.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"qualtrics-exporter.dev/programs/internal/controlplane"
)

// program is the name of the program in its usage message.
const program = "k8s"

// commands contains the components by name. A component takes its arguments and returns the exit code of the process.
var commands = map[string]func(args []string) int{
	"controlplane": controlplane.Run,
	"helm":         helm,
	"kstatus":      kstatus,
	"lua":          runLua,
}

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if _, linked := commands[name]; !linked && len(args) > 0 {
		name, args = args[0], args[1:]
	}
	command, known := commands[name]
	if !known {
		fmt.Fprintf(os.Stderr, "usage: %s %s [flags]\n", program, strings.Join(slices.Sorted(maps.Keys(commands)), "|"))
		os.Exit(2)
	}
	os.Exit(command(args))
}
