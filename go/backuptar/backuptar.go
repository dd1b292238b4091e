// Package backuptar prepares the two files that a snapshotter container is started with: the archive that it
// appends to, usually mounted at /backup.tar, and its configuration, usually mounted at /config.yml.
//
// Docker makes a directory where the host path of a bind mount does not exist, so both files have to be there
// before the container is started:
//
//	err := backuptar.InitBackupTar("backup.tar")
//	...
//	err = backuptar.Config{
//		Prefix:  "volumes/busy_lewin",
//		Volumes: []string{"/home/volume1", "/home/volume2.txt", "/home/volume3"},
//	}.Save("config.yml")
//	...
//	// docker run --rm --volumes-from busy_lewin \
//	//   -v $PWD/backup.tar:/backup.tar -v $PWD/config.yml:/config.yml snapshotter backup
package backuptar

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	// An archive ends with two blocks of 512 zero bytes; an empty one is nothing else.
	emptySize = 1024
	// Other tools pad an empty archive with more zeros (GNU tar to 10 KiB). A file of zeros larger than this is
	// taken for something else, and is not read to its end.
	maxEmptySize = 1 << 20
)

// InitBackupTar makes an empty archive at path: exactly 1024 zero bytes, synced to the disk together with its
// directory entry. Like `snapshotter init` it may be repeated: a file of zero bytes and an archive that is
// empty already (nothing but zeros, at most 1 MiB) become an empty archive of 1024 bytes. Anything else that
// exists at path is left as it is, and the error says what it is.
//
// A new file has mode 0600, because an archive holds every file of its volumes, also those that only root may
// read.
func InitBackupTar(path string) error {
	if err := initBackupTar(path); err != nil {
		return fmt.Errorf("cannot make an empty archive at %s: %w", path, err)
	}
	return nil
}

func initBackupTar(path string) error {
	// Only a file that did not exist may be removed again after an error.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = fill(f)
		if err != nil {
			return firstError(err, os.Remove(path))
		}
		return syncDir(filepath.Dir(path))
	}
	if !errors.Is(err, fs.ErrExist) {
		return reason(err)
	}
	// A FIFO or a device must not be opened.
	if err := checkRegular(path); err != nil {
		return err
	}
	f, err = os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return reason(err)
	}
	if err := checkEmpty(f); err != nil {
		return firstError(err, f.Close())
	}
	if err := fill(f); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// checkRegular says why a path that exists can be neither an archive nor a configuration.
func checkRegular(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return reason(err)
	case info.IsDir():
		return errors.New("it is a directory (docker makes one when the host path of a bind mount does not exist); " +
			"remove it and try again")
	case !info.Mode().IsRegular():
		return fmt.Errorf("it is not a regular file (%s)", info.Mode().Type())
	}
	return nil
}

// checkEmpty fails unless f holds nothing but zeros, few enough for an empty archive. It locks f as the
// program does, so that a running backup, which has not committed yet, is not taken for an empty archive.
func checkEmpty(f *os.File) error {
	if err := tryLock(f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return reason(err)
	}
	notEmpty := errors.New("it exists and is not an empty archive; move it away or choose another path")
	if info.Size() > maxEmptySize {
		return notEmpty
	}
	data, err := io.ReadAll(io.LimitReader(f, maxEmptySize+1))
	if err != nil {
		return reason(err)
	}
	for _, b := range data {
		if b != 0 {
			return notEmpty
		}
	}
	return nil
}

// fill makes f exactly 1024 zero bytes, syncs and closes it. The bytes are written, not only counted, so that
// a full disk is found here.
func fill(f *os.File) error {
	_, err := f.WriteAt(make([]byte, emptySize), 0)
	if err == nil {
		err = f.Truncate(emptySize)
	}
	if err == nil {
		err = f.Sync()
	}
	return reason(firstError(err, f.Close()))
}

// reason is the system's own reason of err: the messages of this package name what was done and the path
// themselves.
func reason(err error) error {
	var pathError *fs.PathError
	var linkError *os.LinkError
	switch {
	case errors.As(err, &pathError):
		return pathError.Err
	case errors.As(err, &linkError):
		return linkError.Err
	}
	return err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
