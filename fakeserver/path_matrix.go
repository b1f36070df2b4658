package fakeserver

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"countersign/matrix"
)

// ForgeryMatrix is the whole matrix of some forgeries and the delivery paths of a room version, as text for people: a
// cell is a subtest of a test of the name TestForge, or the requirement of the forgery has a test of its own, or there
// is a reason why the cell cannot exist.
func ForgeryMatrix(v matrix.RoomVersion, rows []NamedForgery, ownTest func(requirement string) bool) string {
	var table strings.Builder
	reasons := map[string]rune{}
	for _, row := range rows {
		cells := ""
		for _, way := range DeliveryPathsIn(v) {
			reason := way.Refuses(row)
			switch {
			case ownTest(row.Requirement):
				cells += " o"
			case reason == "":
				cells += " x"
			default:
				if reasons[reason] == 0 {
					reasons[reason] = rune('a' + len(reasons))
				}
				cells += " " + string(reasons[reason])
			}
		}
		fmt.Fprintf(&table, "%-18s %s  %s\n", row.Requirement, cells, row.Name)
	}
	table.WriteString("\nthe columns:")
	for _, way := range DeliveryPathsIn(v) {
		table.WriteString(" " + way.Name)
	}
	table.WriteString("\n  x  a subtest of TestForge\n  o  a test of its own\n")
	for _, reason := range slices.SortedFunc(maps.Keys(reasons), func(a, b string) int { return int(reasons[a] - reasons[b]) }) {
		fmt.Fprintf(&table, "  %c  %s\n", reasons[reason], reason)
	}
	return table.String()
}
