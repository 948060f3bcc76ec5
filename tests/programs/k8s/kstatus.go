package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// kstatus computes what Flux and other users of the kstatus library see in objects. It reads JSON objects, one after the
// other, from standard input, and writes a line of JSON for each: its status (InProgress, Current, Failed, ...) and its
// message.
func kstatus(args []string) int {
	if len(args) != 0 {
		fmt.Fprintln(os.Stderr, "usage: kstatus <OBJECTS")
		return 2
	}
	objects, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var object unstructured.Unstructured
		err := objects.Decode(&object)
		if errors.Is(err, io.EOF) {
			return 0
		}
		var result *status.Result
		if err == nil {
			result, err = status.Compute(&object)
		}
		if err == nil {
			err = answers.Encode(map[string]string{"status": result.Status.String(), "message": result.Message})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "kstatus:", err)
			return 1
		}
	}
}
