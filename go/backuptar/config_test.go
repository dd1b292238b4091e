package backuptar

import (
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"testing"
)

func TestSaveWritesWhatTheProgramReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yml")
	config := Config{
		Prefix:  "volumes/busy_lewin",
		Volumes: []string{"/home/volume1", "/home/volume2.txt"},
		Exclude: []string{"*.tmp", "/cache/"},
	}
	if err := config.Save(path); err != nil {
		t.Fatal(err)
	}
	want := `prefix: "volumes/busy_lewin"
volumes:
  - "/home/volume1"
  - "/home/volume2.txt"
exclude:
  - "*.tmp"
  - "/cache/"
`
	if text := string(read(t, path)); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if mode := modeOf(t, path); mode != 0o644 {
		t.Errorf("mode %o, want 644", mode)
	}
}

func TestSaveLeavesOutEmptyLists(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yml")
	if err := (Config{}).Save(path); err != nil {
		t.Fatal(err)
	}
	if text := string(read(t, path)); text != "prefix: \"\"\n" {
		t.Errorf("got %q", text)
	}
}

func TestQuoteEscapesExactlyWhatYAMLNeeds(t *testing.T) {
	for text, want := range map[string]string{
		"":                         `""`,
		`a "b" \c`:                 `"a \"b\" \\c"`,
		"\t\n\x1f ~":               `"\u0009\u000A\u001F ~"`,
		"\x7f\u0080\u0085\u009f":   `"\u007F\u0080\u0085\u009F"`,
		"\u2027\u2028\u2029":       "\"\u2027\\u2028\\u2029\"",
		"\ufeff\ufffd\ufffe\uffff": "\"\\uFEFF\ufffd\\uFFFE\\uFFFF\"",
		"é漢😀: #'{}":                `"é漢😀: #'{}"`,
	} {
		if got := quote(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestSaveRefusesWhatTheProgramWouldRefuse(t *testing.T) {
	for why, config := range map[string]Config{
		"not UTF-8":            {Prefix: "\xff"},
		"is not UTF-8":         {Prefix: "p", Volumes: []string{"/\xff"}},
		"exclude":              {Prefix: "p", Exclude: []string{"\xff"}},
		"NUL":                  {Prefix: "p", Volumes: []string{"/a\x00b"}},
		"not an absolute path": {Prefix: "p", Volumes: []string{"home"}},
		`""`:                   {Prefix: "p", Volumes: []string{""}},
		`holds a ".."`:         {Prefix: "p", Volumes: []string{"/a/../b"}},
		`prefix "a/.."`:        {Prefix: "a/.."},
		`exclude "../a"`:       {Prefix: "p", Exclude: []string{"../a"}},
		"root directory":       {Prefix: "p", Volumes: []string{"/./"}},
		"named twice":          {Prefix: "p", Volumes: []string{"/a/b", "//a/./b/"}},
	} {
		t.Run(why, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.yml")
			write(t, path, []byte("old"))
			wantError(t, config.Save(path), path, why)
			if text := string(read(t, path)); text != "old" {
				t.Errorf("the file holds %q", text)
			}
			wantOnly(t, filepath.Dir(path), "config.yml")
		})
	}
}

func TestNamesWithDotsAreNoParent(t *testing.T) {
	config := Config{Prefix: "..a/b..", Volumes: []string{"/...", "/a/..b"}}
	if err := config.Save(filepath.Join(t.TempDir(), "config.yml")); err != nil {
		t.Error(err)
	}
}

func TestSaveReplacesTheFileInOneStep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yml")
	write(t, path, []byte("old"))
	old, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := (Config{Prefix: "p"}).Save(path); err != nil {
		t.Fatal(err)
	}
	// Who has the old file open still reads all of it.
	data := make([]byte, 10)
	if n, _ := old.Read(data); string(data[:n]) != "old" {
		t.Errorf("the old file holds %q", data[:n])
	}
	wantOnly(t, filepath.Dir(path), "config.yml")
}

func TestSaveKeepsASymbolicLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target.yml"), filepath.Join(dir, "config.yml")
	write(t, target, []byte("old"))
	if err := os.Symlink("target.yml", link); err != nil {
		t.Fatal(err)
	}
	if err := (Config{Prefix: "p"}).Save(link); err != nil {
		t.Fatal(err)
	}
	if text := string(read(t, target)); text != "prefix: \"p\"\n" {
		t.Errorf("the target holds %q", text)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link is none any more")
	}
}

func TestSaveExplainsADirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yml")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	wantError(t, Config{Prefix: "p"}.Save(path), path, "it is a directory", "docker makes one")
	wantOnly(t, filepath.Dir(path), "config.yml")
}

// wantOnly fails if dir holds anything but these names, such as a temporary file.
func wantOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	sort.Strings(names)
	if !reflect.DeepEqual(got, names) {
		t.Errorf("the directory holds %q, want %q", got, names)
	}
}
