package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
)

// luaTimeout is the time limit of Argo CD for a script.
const luaTimeout = time.Second

// luaTask is a script that reads an object from the global variable obj, and returns a table.
type luaTask struct {
	Script string         `json:"script"`
	Object map[string]any `json:"object"`
}

// runLua runs the health checks and actions of Argo CD. It reads tasks from standard input, and writes a line of JSON
// for each: "result" with the value that the script returned, or "error".
func runLua(args []string) int {
	if len(args) != 0 {
		fmt.Fprintln(os.Stderr, "usage: lua <TASKS")
		return 2
	}
	tasks, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var task luaTask
		err := tasks.Decode(&task)
		if errors.Is(err, io.EOF) {
			return 0
		}
		if err == nil {
			answer := map[string]any{}
			if result, failed := task.run(); failed != nil {
				answer["error"] = failed.Error()
			} else {
				answer["result"] = result
			}
			err = answers.Encode(answer)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "lua:", err)
			return 1
		}
	}
}

// run runs the script with the libraries that Argo CD gives to scripts in argocd-cm: the base library, table, and with
// require a reduced os. There is no string, no math and no global os.
func (task luaTask) run() (json.RawMessage, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage},
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
	} {
		opening := lua.P{Fn: state.NewFunction(library.open), Protect: true}
		if err := state.CallByParam(opening, lua.LString(library.name)); err != nil {
			return nil, err
		}
	}
	state.PreloadModule(lua.OsLibName, openClock)
	limited, cancel := context.WithTimeout(context.Background(), luaTimeout)
	defer cancel()
	state.SetContext(limited)
	state.SetGlobal("obj", luajson.DecodeValue(state, task.Object))
	if err := state.DoString(task.Script); err != nil {
		return nil, err
	}
	returned := state.Get(-1)
	if returned.Type() != lua.LTTable {
		return nil, fmt.Errorf("the script returned no table, but %s", returned.Type())
	}
	return luajson.Encode(returned)
}

// openClock loads the os library of Lua with only the safe functions time and date.
func openClock(state *lua.LState) int {
	whole := lua.NewState()
	defer whole.Close()
	library := whole.GetGlobal(lua.OsLibName).(*lua.LTable)
	functions := map[string]lua.LGFunction{}
	for _, name := range []string{"time", "date"} {
		functions[name] = library.RawGetString(name).(*lua.LFunction).GFunction
	}
	state.Push(state.SetFuncs(state.NewTable(), functions))
	return 1
}
