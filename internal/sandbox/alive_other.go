//go:build !unix

package sandbox

// alive cannot be asked here; that its address answers has to do.
func alive(int) bool { return true }
