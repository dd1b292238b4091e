package backuptar

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"
)

// Config is the configuration of one container: what `snapshotter` reads from /config.yml.
type Config struct {
	// Prefix is the directory in the archive that the volumes are stored under. Each container whose volumes go
	// into one archive has its own. Leading and trailing slashes do not matter. Empty means the archive's root.
	Prefix string
	// Volumes are the absolute paths of the volumes in the container: directories, or single files. They may be
	// left out for `snapshotter restore --into`, which then restores all that the snapshot holds.
	Volumes []string
	// Exclude are globs that are matched against the paths inside each volume as .gitignore does. What they
	// match is not stored, and so it is gone after a restore.
	Exclude []string
}

// Save writes the configuration to path as YAML, with mode 0644. A reader finds the old file or the new one,
// never a part of it: the text goes to a temporary file beside path, is synced, and is renamed to path. Only
// where path is a mount point, as a file that docker mounted into this container is, the file is overwritten
// in place, and keeps its mode.
//
// Nothing is written and an error is returned for a configuration that the program would refuse on any
// machine: text that is not UTF-8, a volume that is relative, the root directory or named twice, and a `..`
// in any path.
func (c Config) Save(path string) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("cannot save the configuration %s: %w", path, err)
	}
	if err := replace(path, c.yaml()); err != nil {
		return fmt.Errorf("cannot save the configuration %s: %w", path, err)
	}
	return nil
}

func (c Config) check() error {
	if err := checkText("prefix", c.Prefix); err != nil {
		return err
	}
	for _, glob := range c.Exclude {
		if err := checkText("exclude", glob); err != nil {
			return err
		}
	}
	seen := make(map[string]bool, len(c.Volumes))
	for _, volume := range c.Volumes {
		if err := checkText("volume", volume); err != nil {
			return err
		}
		clean := path.Clean(volume)
		switch {
		case !strings.HasPrefix(volume, "/"):
			return fmt.Errorf("volume %q is not an absolute path", volume)
		case clean == "/":
			return fmt.Errorf("volume %q is the root directory", volume)
		case seen[clean]:
			return fmt.Errorf("volume %q is named twice", volume)
		}
		seen[clean] = true
	}
	return nil
}

func checkText(what, text string) error {
	if !utf8.ValidString(text) {
		return fmt.Errorf("%s %q is not UTF-8", what, text)
	}
	if strings.ContainsRune(text, 0) {
		return fmt.Errorf("%s %q holds a NUL byte", what, text)
	}
	for _, name := range strings.Split(text, "/") {
		if name == ".." {
			return fmt.Errorf("%s %q holds a \"..\"", what, text)
		}
	}
	return nil
}

func (c Config) yaml() string {
	var b strings.Builder
	b.WriteString("prefix: " + quote(c.Prefix) + "\n")
	list := func(key string, items []string) {
		if len(items) == 0 {
			return
		}
		b.WriteString(key + ":\n")
		for _, item := range items {
			b.WriteString("  - " + quote(item) + "\n")
		}
	}
	list("volumes", c.Volumes)
	list("exclude", c.Exclude)
	return b.String()
}

// quote writes valid UTF-8 as a YAML string in double quotes. What YAML calls not printable
// (https://yaml.org/spec/1.2.2/#51-character-set) is escaped, and so are the line separators, which a reader
// may fold. All of that lies below U+10000, so \u and four digits suffice.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20, r >= 0x7f && r <= 0x9f, r == 0x2028, r == 0x2029, r == 0xfeff, r == 0xfffe, r == 0xffff:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// replace gives the file at path a new content, in one step where that is possible.
func replace(path, content string) error {
	// Behind a symbolic link it is the target that is replaced.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
		if err := checkRegular(path); err != nil {
			return err
		}
	}
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, ".snapshotter-config.*")
	if err != nil {
		return reason(err)
	}
	err = writeAndClose(temp, content, 0o644)
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err == nil {
		return syncDir(dir)
	}
	removeErr := os.Remove(temp.Name())
	if errors.Is(err, syscall.EBUSY) {
		// A mount point cannot be renamed over.
		return firstError(overwrite(path, content), reason(removeErr))
	}
	return reason(err)
}

func writeAndClose(f *os.File, content string, mode os.FileMode) error {
	_, err := f.WriteString(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	return firstError(err, f.Close())
}

// overwrite writes over a file, and cuts it to length only afterwards.
func overwrite(path, content string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return reason(err)
	}
	_, err = f.WriteString(content)
	if err == nil {
		err = f.Truncate(int64(len(content)))
	}
	if err == nil {
		err = f.Sync()
	}
	return reason(firstError(err, f.Close()))
}
