package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// lines makes a history of short words: type, process, f, value.
func lines(words ...[4]string) string {
	var out strings.Builder
	for _, it := range words {
		out.WriteString(`{"type":"` + it[0] + `","process":` + it[1] + `,"f":"` + it[2] + `","value":` + it[3] + "}\n")
	}
	return out.String()
}

func exit(t *testing.T, model, text string) (int, string) {
	t.Helper()
	operations, err := read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	return judge(model, operations, time.Minute, &out), out.String()
}

func TestHistoriesThatAreLinearizableAndThatAreNot(t *testing.T) {
	write := lines([4]string{"invoke", "0", "txn", `[["w",1,5]]`}, [4]string{"ok", "0", "txn", `[["w",1,5]]`})
	lost := lines([4]string{"invoke", "0", "txn", `[["w",1,5]]`}, [4]string{"info", "0", "txn", `[["w",1,5]]`})
	failed := lines([4]string{"invoke", "0", "txn", `[["w",1,5]]`}, [4]string{"fail", "0", "txn", `[["w",1,5]]`})
	found := func(process, value string) string {
		return lines([4]string{"invoke", process, "txn", `[["r",1,null]]`}, [4]string{"ok", process, "txn", `[["r",1,` + value + `]]`})
	}
	appended := lines(
		[4]string{"invoke", "0", "txn", `[["append",1,5]]`}, [4]string{"invoke", "2", "txn", `[["append",1,6]]`},
		[4]string{"ok", "2", "txn", `[["append",1,6]]`}, [4]string{"ok", "0", "txn", `[["append",1,5]]`})
	cas := lines([4]string{"invoke", "3", "cas", `[1,[5,6]]`}, [4]string{"ok", "3", "cas", `[1,[5,6]]`})
	for name, it := range map[string]struct {
		text string
		code int
	}{
		"a read of what was written":              {write + found("1", "5"), 0},
		"a stale read":                            {write + found("1", "null"), 1},
		"an unknown write that is seen":           {lost + found("1", "5"), 0},
		"an unknown write that is not seen":       {lost + found("1", "null"), 0},
		"an unknown write that appears and goes":  {lost + found("1", "5") + found("1", "null"), 1},
		"a failed write that is seen":             {failed + found("1", "5"), 1},
		"appends at once, in either order":        {appended + found("1", "[6,5]"), 0},
		"appends of which one is lost":            {appended + found("1", "[5]"), 1},
		"a compare-and-set of what is there":      {write + cas + found("1", "6"), 0},
		"a compare-and-set of what was not there": {cas + found("1", "6"), 1},
	} {
		if code, said := exit(t, "register", it.text); code != it.code {
			t.Errorf("%s: %d, %s", name, code, said)
		}
	}
	if _, said := exit(t, "register", write+found("1", "null")); !strings.Contains(said, "key 1, 2 operations") {
		t.Error(said)
	}
}

func TestATransactionHasOneDecision(t *testing.T) {
	decide := func(process, what string) string {
		return lines([4]string{"invoke", process, "decide", `["t",` + what + `]`}, [4]string{"ok", process, "decide", `["t",` + what + `]`})
	}
	ask := func(what string) string {
		return lines([4]string{"invoke", "9", "ask", `["t",null]`}, [4]string{"ok", "9", "ask", `["t",` + what + `]`})
	}
	for text, expected := range map[string]int{
		decide("0", `"committed"`) + ask(`"committed"`):                   0,
		ask("null") + decide("0", `"aborted"`) + decide("1", `"aborted"`): 0,
		decide("0", `"committed"`) + decide("1", `"aborted"`):             1,
		decide("0", `"committed"`) + ask("null"):                          1,
		ask(`"aborted"`) + decide("0", `"committed"`):                     1,
	} {
		if code, said := exit(t, "decision", text); code != expected {
			t.Errorf("%d: %s\n%s", code, text, said)
		}
	}
}

func TestBadInputIsAnErrorWithItsLine(t *testing.T) {
	begun := lines([4]string{"invoke", "0", "txn", `[["w",1,5]]`})
	for text, said := range map[string]string{
		"":                    "no operation happened",
		begun + begun:         "line 2: process 0 is used twice",
		begun + `{"type": "o`: "line 2: ",
		lines([4]string{"ok", "0", "read", "[1,2]"}):                                              "has not begun",
		lines([4]string{"invoke", "0", "swap", "[1,2]"}):                                          `unknown operation "swap"`,
		lines([4]string{"invoke", "0", "txn", `[["r",1,null],["r",2,null]]`}):                     "use handfast check",
		lines([4]string{"invoke", "0", "txn", `[["cas",1,null]]`}):                                `unknown part "cas"`,
		lines([4]string{"invoke", "0", "read", "[1,2]"}, [4]string{"done", "0", "read", "[1,2]"}): `unknown type "done"`,
	} {
		if _, err := read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), said) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
