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

// luaTimeout is how long Argo CD lets a script run.
const luaTimeout = time.Second

// luaTask is one call: a script that sees an object as its global obj, and returns a table.
type luaTask struct {
	Script string         `json:"script"`
	Object map[string]any `json:"object"`
}

// runLua runs the scripts by which Argo CD judges objects and acts on them. It reads tasks, one after the other, from
// standard input, and writes a line of JSON for each: "result" with what the script returned, or "error".
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

// run gives the script exactly what Argo CD gives to a script of argocd-cm: the language itself, table, and with require
// an os that only returns the time. It has no string, no math and no global os.
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

// openClock loads the os library of Lua with time and date only, the two functions that cannot do harm.
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
