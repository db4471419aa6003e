//go:build tools

// Package tools keeps kwok among this module's requirements, so that go.sum pins everything it is built from.
package tools

import _ "sigs.k8s.io/kwok/cmd/kwok"
