//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package backuptar

import "os"

// tryLock does nothing: this system has no flock.
func tryLock(*os.File) error { return nil }

// syncDir does nothing: this system cannot sync a directory.
func syncDir(string) error { return nil }
