// Command porcupine checks a history, as JSON lines, for linearizability with Porcupine.
//
// It is a second opinion, by other people's code, on histories of one key at a time:
//
//	register   operations on one key each: [["append",k,v]], [["w",k,v]], [["r",k,…]] transactions of one
//	           part, or f read, write and cas with a value [key, value] and [key, [old, new]]
//	decision   every transaction has one decision: f decide with [transaction, "committed" or "aborted"],
//	           and f ask with [transaction, what was answered, or null for undecided]
//
// An operation that never returned, or ended as info, may take effect at any later time, or never. Exit
// codes: 0 linearizable, 1 not, 2 a history that cannot be read, 5 not decided in time.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// event is one line of a history.
type event struct {
	Type    string          `json:"type"`
	Process json.RawMessage `json:"process"`
	F       string          `json:"f"`
	Value   json.RawMessage `json:"value"`
}

// input is what one operation asks of one key. Values are JSON text, so that they compare exactly.
type input struct {
	key      string
	kind     string // read, write, append, cas, decide, ask
	old, new string
}

// output is what it was told.
type output struct {
	value   string
	unknown bool
}

const longestLine = 16 << 20

func main() {
	model := flag.String("model", "register", "register or decision")
	timeout := flag.Duration("timeout", time.Minute, "how long to search")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: porcupine [-model register|decision] [-timeout 60s] history.jsonl")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 || (*model != "register" && *model != "decision") {
		flag.Usage()
		os.Exit(2)
	}
	file, err := os.Open(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
	defer file.Close()
	operations, err := read(file)
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %s: %v\n", flag.Arg(0), err)
		os.Exit(2)
	}
	os.Exit(judge(*model, operations, *timeout, os.Stdout))
}

// judge checks, says what it found, and returns the exit code.
func judge(model string, operations []porcupine.Operation, timeout time.Duration, out io.Writer) int {
	chosen := registers
	if model == "decision" {
		chosen = decisions
	}
	for _, operation := range operations {
		kind := operation.Input.(input).kind
		decides := kind == "decide" || kind == "ask"
		if decides != (model == "decision") {
			fmt.Fprintf(os.Stderr, "error: %q is no operation of the model %s; choose another -model\n", kind, model)
			return 2
		}
	}
	switch porcupine.CheckOperationsTimeout(chosen, operations, timeout) {
	case porcupine.Ok:
		fmt.Fprintf(out, "linearizable: %d operations on %d keys\n", len(operations), len(byKey(operations)))
		return 0
	case porcupine.Illegal:
		fmt.Fprintln(out, "NOT linearizable:")
		for _, part := range byKey(operations) {
			if porcupine.CheckOperationsTimeout(chosen, part, timeout) == porcupine.Illegal {
				fmt.Fprintf(out, "  key %s, %d operations\n", part[0].Input.(input).key, len(part))
			}
		}
		return 1
	default:
		fmt.Fprintln(out, "UNKNOWN, which is not linearizable: the time was too short")
		return 5
	}
}

// read pairs invocations and completions. Whatever failed is left out: it did not happen.
func read(from io.Reader) ([]porcupine.Operation, error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 64<<10), longestLine)
	open := map[string]int{}
	var operations []porcupine.Operation
	var failed []bool
	number := 0
	clients := map[string]int{}
	for lines.Scan() {
		number++
		if len(lines.Bytes()) == 0 {
			continue
		}
		var it event
		if err := json.Unmarshal(lines.Bytes(), &it); err != nil {
			return nil, fmt.Errorf("line %d: %w; was the file cut off?", number, err)
		}
		process := string(it.Process)
		if process == "" {
			return nil, fmt.Errorf("line %d: the operation has no process", number)
		}
		if process[0] == '-' || process[0] == '"' {
			continue // faults
		}
		at, busy := open[process]
		if it.Type == "invoke" {
			if busy {
				return nil, fmt.Errorf("line %d: process %s is used twice at once", number, process)
			}
			asked, _, err := parse(it)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
			if _, known := clients[process]; !known {
				clients[process] = len(clients)
			}
			open[process] = len(operations)
			operations = append(operations, porcupine.Operation{
				ClientId: clients[process], Input: asked, Call: int64(number),
				Output: output{unknown: true}, Return: math.MaxInt64,
			})
			failed = append(failed, false)
			continue
		}
		if !busy {
			return nil, fmt.Errorf("line %d: process %s ends an operation that it has not begun", number, process)
		}
		delete(open, process)
		switch it.Type {
		case "ok":
			_, told, err := parse(it)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
			operations[at].Output, operations[at].Return = told, int64(number)
		case "fail":
			failed[at] = true
		case "info":
			// The process is gone; its operation may still take effect. A new client of Porcupine does it.
			delete(clients, process)
			operations[at].ClientId = 1_000_000 + at
		default:
			return nil, fmt.Errorf("line %d: unknown type %q", number, it.Type)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	var happened []porcupine.Operation
	for at, operation := range operations {
		// A read that did not answer says nothing, and costs the search much.
		kind, unknown := operation.Input.(input).kind, operation.Output.(output).unknown
		if !failed[at] && !(unknown && (kind == "read" || kind == "ask")) {
			happened = append(happened, operation)
		}
	}
	if len(happened) == 0 {
		return nil, fmt.Errorf("no operation happened; was the right file given?")
	}
	return happened, nil
}

// parse reads what an operation asks, and what it was told.
func parse(it event) (input, output, error) {
	var parts []json.RawMessage
	if err := json.Unmarshal(it.Value, &parts); err != nil {
		return input{}, output{}, fmt.Errorf("the value of %q must be a list, and is %s", it.F, it.Value)
	}
	if it.F == "txn" {
		return parseTxn(parts)
	}
	if len(parts) != 2 {
		return input{}, output{}, fmt.Errorf("the value of %q must have two parts: %s", it.F, it.Value)
	}
	key, value := compact(parts[0]), compact(parts[1])
	switch it.F {
	case "read", "ask":
		return input{key: key, kind: it.F}, output{value: value}, nil
	case "write", "decide":
		return input{key: key, kind: it.F, new: value}, output{}, nil
	case "cas":
		var pair []json.RawMessage
		if err := json.Unmarshal(parts[1], &pair); err != nil || len(pair) != 2 {
			return input{}, output{}, fmt.Errorf("cas needs [key, [old, new]], and has %s", it.Value)
		}
		return input{key: key, kind: "cas", old: compact(pair[0]), new: compact(pair[1])}, output{}, nil
	}
	return input{}, output{}, fmt.Errorf("unknown operation %q; known are txn, read, write, cas, decide and ask", it.F)
}

// parseTxn reads a transaction of one part.
func parseTxn(parts []json.RawMessage) (input, output, error) {
	if len(parts) != 1 {
		return input{}, output{}, fmt.Errorf("a transaction of %d parts is not an operation on one key: use handfast check", len(parts))
	}
	var part []json.RawMessage
	var kind string
	if err := json.Unmarshal(parts[0], &part); err != nil || len(part) != 3 {
		return input{}, output{}, fmt.Errorf("a part must be [kind, key, value], and is %s", parts[0])
	}
	if err := json.Unmarshal(part[0], &kind); err != nil {
		return input{}, output{}, fmt.Errorf("a part begins with its kind, not with %s", part[0])
	}
	key, value := compact(part[1]), compact(part[2])
	switch kind {
	case "r":
		return input{key: key, kind: "read"}, output{value: value}, nil
	case "w":
		return input{key: key, kind: "write", new: value}, output{}, nil
	case "append":
		return input{key: key, kind: "append", new: value}, output{}, nil
	}
	return input{}, output{}, fmt.Errorf("unknown part %q; known are append, r and w", kind)
}

// compact is the value in one spelling.
func compact(raw json.RawMessage) string {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return string(raw)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return string(raw)
	}
	return string(text)
}

// byKey splits a history, keys in order.
func byKey(operations []porcupine.Operation) [][]porcupine.Operation {
	parts := map[string][]porcupine.Operation{}
	var keys []string
	for _, operation := range operations {
		key := operation.Input.(input).key
		if _, known := parts[key]; !known {
			keys = append(keys, key)
		}
		parts[key] = append(parts[key], operation)
	}
	sort.Strings(keys)
	var split [][]porcupine.Operation
	for _, key := range keys {
		split = append(split, parts[key])
	}
	return split
}

// registers: a key holds a value, or a list as JSON text; null is nothing.
var registers = porcupine.Model{
	Partition: byKey,
	Init:      func() any { return "null" },
	Step: func(state, in, out any) (bool, any) {
		now, asked, told := state.(string), in.(input), out.(output)
		switch asked.kind {
		case "read":
			same := told.value == now || (now == "null" && told.value == "[]")
			return told.unknown || same, now
		case "write":
			return true, asked.new
		case "append":
			if now == "null" || now == "[]" {
				return true, "[" + asked.new + "]"
			}
			return true, now[:len(now)-1] + "," + asked.new + "]"
		default: // cas
			return now == asked.old, asked.new
		}
	},
}

// decisions: a transaction is undecided, then committed or aborted for ever.
var decisions = porcupine.Model{
	Partition: byKey,
	Init:      func() any { return "null" },
	Step: func(state, in, out any) (bool, any) {
		now, asked, told := state.(string), in.(input), out.(output)
		if asked.kind == "ask" {
			return told.unknown || told.value == now, now
		}
		return now == "null" || now == asked.new, asked.new
	},
}
