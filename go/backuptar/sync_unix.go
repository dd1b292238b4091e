//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package backuptar

import (
	"errors"
	"os"
	"syscall"
)

// tryLock locks f exclusively until it is closed, or says that someone else has it. Filesystems without locks
// are no error.
func tryLock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errors.New("it is in use, a backup may be running")
		}
		return nil
	}
}

// syncDir makes the entries of a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return reason(err)
	}
	err = d.Sync()
	// Some network filesystems cannot sync a directory, and need not.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return reason(firstError(err, d.Close()))
}
