package backuptar

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInitMakesAnArchiveThatOtherReadersFindEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backup.tar")
	if err := InitBackupTar(path); err != nil {
		t.Fatal(err)
	}
	data := read(t, path)
	if !bytes.Equal(data, make([]byte, 1024)) {
		t.Errorf("%d bytes, want 1024 zeros", len(data))
	}
	if _, err := tar.NewReader(bytes.NewReader(data)).Next(); err != io.EOF {
		t.Errorf("archive/tar reads %v, want the end of the archive", err)
	}
	if mode := modeOf(t, path); mode != 0o600 {
		t.Errorf("mode %o, want 600", mode)
	}
}

func TestInitAcceptsWhatHoldsNothing(t *testing.T) {
	for name, size := range map[string]int{"zero bytes": 0, "empty": 1024, "padded by tar": 10240, "1 MiB": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "backup.tar")
			write(t, path, make([]byte, size))
			if err := InitBackupTar(path); err != nil {
				t.Fatal(err)
			}
			if data := read(t, path); !bytes.Equal(data, make([]byte, 1024)) {
				t.Errorf("%d bytes, want 1024 zeros", len(data))
			}
		})
	}
}

func TestInitRefusesWhatHoldsSomethingAndLeavesItAsItWas(t *testing.T) {
	lastByte := make([]byte, 1<<20)
	lastByte[len(lastByte)-1] = 1
	for name, content := range map[string][]byte{
		"text":           []byte("not a tar"),
		"an archive":     archive(t),
		"the last byte":  lastByte,
		"too many zeros": make([]byte, 1<<20+1),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "backup.tar")
			write(t, path, content)
			wantError(t, InitBackupTar(path), path, "not an empty archive")
			if !bytes.Equal(read(t, path), content) {
				t.Error("the content has changed")
			}
		})
	}
}

func TestInitExplainsADirectory(t *testing.T) {
	path := t.TempDir()
	wantError(t, InitBackupTar(path), path, "it is a directory", "docker makes one")
}

func TestInitSaysTheSystemsReasonOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "backup.tar")
	err := InitBackupTar(path)
	wantError(t, err, "no such file or directory")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	if strings.Count(err.Error(), path) != 1 {
		t.Errorf("the path stands more than once in %q", err)
	}
}

// archive returns a tar archive with one file.
func archive(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}
