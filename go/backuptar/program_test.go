package backuptar

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// skip leaves out a test that cannot run here, with a line that says so. In CI nothing is skipped.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("cannot be skipped in CI: " + why)
	}
	t.Skip(why)
}

// program runs the snapshotter that SNAPSHOTTER_BIN names and returns its output; what it says on stderr
// shows when the test fails.
type program string

func findProgram(t *testing.T) program {
	t.Helper()
	bin := os.Getenv("SNAPSHOTTER_BIN")
	if bin == "" {
		skip(t, "SNAPSHOTTER_BIN does not name the snapshotter's binary")
	}
	return program(bin)
}

func (p program) run(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(string(p), args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A configuration of the machine must not reach the test.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	err := cmd.Run()
	t.Logf("snapshotter %q: %v\n%s", args, err, stderr.String())
	return stdout.Bytes(), err
}

func (p program) mustRun(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := p.run(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The names of the volumes need every escape that a configuration can have.
func TestTheProgramTakesBothFiles(t *testing.T) {
	snapshotter := findProgram(t)
	root := realTempDir(t)
	dir := filepath.Join(root, "home", "a \"quoted\" \\name\n#: é😀\u0085\u2028\ufeff\uffff")
	file := filepath.Join(root, "home", "volume2.txt")
	write(t, filepath.Join(dir, "file.txt"), []byte("volume one\n"))
	write(t, filepath.Join(dir, "deep", "er", "script"), []byte("#!/bin/sh\n"))
	write(t, filepath.Join(dir, "left out.tmp"), []byte("temporary"))
	write(t, file, bytes.Repeat([]byte("volume two\n"), 10000))
	must(t, os.Chmod(filepath.Join(dir, "deep", "er", "script"), 0o750))
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o700))

	archive, config := filepath.Join(root, "backup.tar"), filepath.Join(root, "config.yml")
	must(t, InitBackupTar(archive))
	must(t, Config{
		Prefix:  "volumes/'busy' \"lewin\"\t",
		Volumes: []string{dir, file},
		Exclude: []string{"*.tmp"},
	}.Save(config))

	files := []string{"--archive", archive, "--config", config}
	snapshotter.mustRun(t, append(files, "backup")...)

	var list struct {
		Snapshots []struct {
			ID     string `json:"id"`
			Prefix string `json:"prefix"`
		} `json:"snapshots"`
	}
	out := snapshotter.mustRun(t, "--archive", archive, "list", "--json")
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(list.Snapshots) != 1 || list.Snapshots[0].ID == "" ||
		list.Snapshots[0].Prefix != "volumes/'busy' \"lewin\"\t" {
		t.Errorf("list --json: %s", out)
	}

	into := filepath.Join(root, "into")
	snapshotter.mustRun(t, append(files, "restore", "--into", into)...)
	wantSameTree(t, dir, filepath.Join(into, dir), "/left out.tmp")
	wantSameTree(t, file, filepath.Join(into, file))
}

func TestTheProgramsInitAgrees(t *testing.T) {
	snapshotter := findProgram(t)
	for name, content := range map[string][]byte{
		"nothing":       {},
		"empty":         make([]byte, 1024),
		"padded by tar": make([]byte, 10240),
		"text":          []byte("not a tar"),
		"an archive":    archive(t),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
			write(t, ours, content)
			write(t, theirs, content)
			ourErr := InitBackupTar(ours)
			_, theirErr := snapshotter.run(t, "init", theirs)
			if (ourErr == nil) != (theirErr == nil) {
				t.Errorf("InitBackupTar says %v, the program %v", ourErr, theirErr)
			}
			if !bytes.Equal(read(t, ours), read(t, theirs)) {
				t.Error("the files differ")
			}
		})
	}
	t.Run("a new file", func(t *testing.T) {
		dir := t.TempDir()
		ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
		must(t, InitBackupTar(ours))
		snapshotter.mustRun(t, "init", theirs)
		if !bytes.Equal(read(t, ours), read(t, theirs)) {
			t.Error("the files differ")
		}
	})
}

// wantSameTree compares names, types, modes, times and contents, but for the files of want that are left out.
func wantSameTree(t *testing.T, want, got string, leftOut ...string) {
	t.Helper()
	wantTree, gotTree := tree(t, want), tree(t, got)
	for _, name := range leftOut {
		delete(wantTree, name)
	}
	for name, entry := range wantTree {
		if gotTree[name] != entry {
			t.Errorf("%q: got %.80q, want %.80q", name, gotTree[name], entry)
		}
	}
	for name := range gotTree {
		if _, ok := wantTree[name]; !ok {
			t.Errorf("%q should not be there", name)
		}
	}
}

func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	entries := make(map[string]string)
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		entry := info.Mode().String() + " " + info.ModTime().UTC().String()
		if info.Mode().IsRegular() {
			entry += " " + string(read(t, path))
		}
		entries[path[len(root):]] = entry
		return nil
	}))
	return entries
}

// realTempDir is a temporary directory without symbolic links in its path, as volumes have to be.
func realTempDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
