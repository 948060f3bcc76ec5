// Command k8s holds the parts of Kubernetes, and the tools around it, that the tests run for real, in one program. The
// first argument, or the name that the program is called by, chooses the part.
//
// It is one program because the parts share nearly all of their code: each part linked alone is almost as large, and
// takes almost as long to link, as all of them together. It is built from the published Go modules because they need
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

// program is the name under which the first argument is the command.
const program = "k8s"

// commands has each part by its name; a part takes its arguments and returns the exit code of the process.
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
