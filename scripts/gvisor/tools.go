//go:build tools

// Package tools keeps gVisor's programs among this module's requirements, so that go.sum pins everything they are built from.
package tools

import (
	_ "gvisor.dev/gvisor/runsc"
	_ "gvisor.dev/gvisor/shim"
)
