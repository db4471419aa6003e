//go:build tools

// Package tools keeps gVisor's runsc among this module's requirements, so that go.sum pins everything it is built from.
package tools

import _ "gvisor.dev/gvisor/runsc"
